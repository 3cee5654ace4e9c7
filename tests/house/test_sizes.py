"""Modules and functions stay small enough to be read at one sitting."""

import ast
import statistics
from pathlib import Path

from tests.house.helpers import called_once, functions
from tests.house.places import PACKAGE, ROOT, read_once, write_tree

MODULE_LINES, BODY_LINES, NINTH_BODY, MEDIAN_BODY = 500, 60, 30, 12
# It stood at 0.27 when counting began. Never raise it.
HELPERS_CALLED_ONCE = 0.12


def long_modules(package: Path) -> list[str]:
    sizes = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in package.rglob("*.py")}
    return [
        f"{path.relative_to(package.parent)}: {lines} lines"
        for path, lines in sorted(sizes.items())
        if lines > MODULE_LINES
    ]


@read_once
def bodies(package: Path) -> dict[str, int]:
    """Return the number of lines of each function, its signature and docstring left out."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(package.parent)}:{node.lineno} {node.name}"
                found[where] = _body_lines(node)
    return found


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not body:
        return 0
    assert node.end_lineno is not None
    return node.end_lineno - body[0].lineno + 1


def test_no_module_is_long() -> None:
    assert long_modules(PACKAGE) == []


def test_no_benchmark_or_recipe_script_is_long() -> None:
    assert long_modules(ROOT / "benchmarks") + long_modules(ROOT / "pipelines") == []


def test_no_function_is_long() -> None:
    assert [f"{name}: {n}" for name, n in bodies(PACKAGE).items() if n > BODY_LINES] == []


def test_most_functions_are_short() -> None:
    sizes = sorted(bodies(PACKAGE).values())
    median, ninth = statistics.median(sizes), statistics.quantiles(sizes, n=10)[-1]
    print(f"{len(sizes)} functions: body median {median}, p90 {ninth:.0f}, longest {sizes[-1]}")
    assert median < MEDIAN_BODY
    assert ninth <= NINTH_BODY


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    lines = "\n".join("    x = 1" for _ in range(61))
    text = f'def f():\n    """Do it."""\n{lines}\n\n\ndef g():\n    """Do.\n\n    More.\n    """\n'
    bad = write_tree(tmp_path, {"a.py": text, "b.py": "x = 1\n" * 501})
    assert bodies(bad) == {"curate/a.py:1 f": 61, "curate/a.py:66 g": 0}
    assert long_modules(bad) == ["curate/b.py: 501 lines"]


def test_few_helpers_are_called_once() -> None:
    once, all_ = called_once(PACKAGE), functions(PACKAGE)
    print(f"{len(once)} of {len(all_)} functions are helpers with one caller")
    assert len(once) <= HELPERS_CALLED_ONCE * len(all_), "python -m tests.house.helpers lists them"


def test_a_helper_with_one_caller_is_found(tmp_path: Path) -> None:
    bad = write_tree(
        tmp_path,
        {
            "a.py": "def _once(): ...\ndef twice(): ...\ndef own(): ...\ndef all_(): ...\n"
            "x = _once(), twice(), twice(), own()\n",
            "b.py": "from curate.a import all_\nx = all_()\n",
        },
    )
    assert [one.name for one in called_once(bad)] == ["_once", "own"]
