"""Count the helpers that are called once: logic cut into pieces that say nothing on their own.

Run it as a script to list them: `python -m tests.house.helpers [ROOM]`.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house.places import read_once

Defined = ast.FunctionDef | ast.AsyncFunctionDef


class Function(NamedTuple):
    """A function or method: where it is, and how long its body is without the docstring."""

    path: Path
    line: int
    name: str
    method: bool
    body: int


@read_once
def functions(package: Path) -> list[Function]:
    """Return every function and method of `package`, those inside functions left out."""
    found = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [_function(path, node, method) for node, method in _defined(tree, False)]
    return found


def _defined(node: ast.AST, method: bool) -> Iterator[tuple[Defined, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Defined):
            yield child, method
        else:
            yield from _defined(child, method or isinstance(child, ast.ClassDef))


def _function(path: Path, node: Defined, method: bool) -> Function:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
    return Function(path, node.lineno, node.name, method, length)


def called_once(package: Path) -> list[Function]:
    """Return the helpers with one caller: private ones, and public functions used so.

    Calls are looked for in the helper's own module; a public function that another module uses is
    no helper. What is decorated is called by its decorator.
    """
    used: dict[str, Counter[Path]] = defaultdict(Counter)
    decorated = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                used[node.id][path] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr][path] += 1
            elif isinstance(node, ast.ImportFrom):
                used.update({a.name: used[a.name] + Counter([path]) for a in node.names})
            elif isinstance(node, Defined) and node.decorator_list:
                decorated.add((path, node.lineno, node.name))
    found = []
    for one in functions(package):
        if (one.path, one.line, one.name) in decorated or one.name.startswith("__"):
            continue
        private = one.name.startswith("_")
        elsewhere = sum(used[one.name].values()) - used[one.name][one.path]
        if used[one.name][one.path] == 1 and (private or not (one.method or elsewhere)):
            found.append(one)
    return found


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2] / "curate"
    once, all_ = called_once(root), functions(root)
    wanted = root / sys.argv[1] if len(sys.argv) > 1 else root
    for one in once:
        if one.path.is_relative_to(wanted):
            print(f"{one.path.relative_to(root.parent)}:{one.line} {one.name} ({one.body} lines)")
    print(f"{len(once)} of {len(all_)} functions: {len(once) / len(all_):.1%}")
