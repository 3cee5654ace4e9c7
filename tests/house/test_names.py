"""Names say where a thing lives: no drawers for leftovers, one step a file, tests beside it."""

import ast
import re
from pathlib import Path

from tests.house.places import PACKAGE, TESTS, write_tree

DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "core", "base"}
WEAK = re.compile(r"(Manager|Handler|Processor|Helper|Util)s?$|^Base[A-Z]")
# Test folders that hold a view of the whole rather than of one module.
OF_THE_WHOLE = ("house", "pipelines")


def drawers(package: Path) -> list[str]:
    return sorted(p.name for p in package.rglob("*") if p.stem.lower() in DRAWERS)


def weak_classes(package: Path) -> list[str]:
    return [
        node.name
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and WEAK.search(node.name)
    ]


def strays(package: Path, tests: Path) -> list[str]:
    """Return the test folders that stand for no folder of the package."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.parent.relative_to(tests)
        if folder.parts and folder.parts[0] in OF_THE_WHOLE:
            continue
        if not (package / folder).is_dir():
            found.append(str(path.relative_to(tests)))
    return found


def untested_steps(package: Path, tests: Path) -> list[str]:
    """Return the operators without a test file of their name in the same place under tests."""
    missing = []
    for path in sorted((package / "steps").rglob("*.py")):
        own = tests / path.relative_to(package).with_name(f"test_{path.name}")
        if not path.name.startswith("_") and not own.is_file():
            missing.append(str(path.relative_to(package)))
    return missing


def misnamed_steps(package: Path) -> list[str]:
    """Return the operator files that do not define a class of their own name."""
    bad = []
    for path in sorted((package / "steps").rglob("*.py")):
        if path.name.startswith("_"):
            continue
        classes = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
        if path.stem.replace("_", "") not in [name.lower() for name in classes]:
            bad.append(str(path.relative_to(package)))
    return bad


def test_there_is_no_drawer_for_leftovers() -> None:
    assert drawers(PACKAGE) == []


def test_classes_have_names_that_say_something() -> None:
    assert weak_classes(PACKAGE) == []


def test_tests_mirror_the_package() -> None:
    assert strays(PACKAGE, TESTS) == []


def test_every_step_has_its_own_test_file() -> None:
    assert untested_steps(PACKAGE, TESTS) == []


def test_every_step_file_is_named_after_its_class() -> None:
    assert misnamed_steps(PACKAGE) == []


def test_bad_names_are_found(tmp_path: Path) -> None:
    bad = write_tree(
        tmp_path,
        {
            "read/utils.py": "class StoreManager: ...\nclass BaseStep: ...\n",
            "steps/filters/length.py": "class Size: ...\n",
        },
    )
    tests = tmp_path / "tests"
    (tests / "reading").mkdir(parents=True)
    (tests / "reading" / "test_x.py").touch()
    assert drawers(bad) == ["utils.py"]
    assert weak_classes(bad) == ["StoreManager", "BaseStep"]
    assert strays(bad, tests) == ["reading/test_x.py"]
    assert untested_steps(bad, tests) == ["steps/filters/length.py"]
    assert misnamed_steps(bad) == ["steps/filters/length.py"]
