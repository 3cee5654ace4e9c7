"""Everything public says what it does, and nothing is left half done."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.places import PACKAGE, write_tree

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b|placeholder|not implemented", re.I)
Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = str(path.relative_to(package.parent))
        if not ast.get_docstring(tree):
            found.append(where)
        found += [f"{where} {node.name}" for node in _public(tree) if not ast.get_docstring(node)]
    return found


def _public(node: ast.AST) -> Iterator[Defined]:
    """Yield public functions, classes and their methods; what is inside a function is its own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Defined) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def unfinished(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package.parent)}:{number}"
        for path in sorted(package.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]


def test_everything_public_has_a_docstring() -> None:
    assert undocumented(PACKAGE) == []


def test_nothing_is_marked_as_unfinished() -> None:
    assert unfinished(PACKAGE) == []


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    text = '"""Do."""\nclass A:\n    """Be."""\n    def b(self): ...\n    def _c(self): ...\n'
    bad = write_tree(tmp_path, {"a.py": text, "b.py": "x = 1  # TODO later\n"})
    assert undocumented(bad) == ["curate/a.py b", "curate/b.py"]
    assert unfinished(bad) == ["curate/b.py:1"]
