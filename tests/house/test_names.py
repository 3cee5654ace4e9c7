"""Names say where a thing lives: no drawers for leftovers, one step a file, tests beside it."""

import ast
import re
from pathlib import Path

from tests.house.places import PACKAGE, TESTS, write_tree

DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "core", "base"}
WEAK = re.compile(r"(Manager|Handler|Processor|Helper|Util)s?$|^Base[A-Z]")
# Files of one name in two rooms, and why both are called so.
SAME_NAME = {
    "__main__.py": "`python -m curate` and `python -m curate.cli`",
    "argilla.py": "the shape that is read, and the format that is written",
    "explain.py": "the command, and what it shows",
    "export.py": "the command, and what it writes",
    "filter.py": "the command, and how the engine runs that kind of step",
    "generate.py": "the command, and how the engine runs that kind of step",
    "local.py": "the engine of one machine, and the provider of the embedded model: words of users",
    "openai.py": "the provider, and the format",
    "pairs.py": "the operator, and the grammar of replies that hold questions and answers",
    "report.py": "the command, and what it shows",
    "run.py": "the command, and what it starts",
    "scar.py": "the operator, and the prefix of the rankers that it asks",
    "self_instruct.py": "the operator, and the shape of the seed tasks that its authors published",
    "store.py": "the command, and the store",
    "ultrafeedback.py": "the operator, and the shape of the data that its authors published",
    # A file of the steps is an operator, its kernel or grammar has the name of the method, too.
    **dict.fromkeys(
        ["dpp.py", "facility_location.py", "k_center.py", "novelty.py", "pii.py", "repetition.py",
         "rubric.py", "semdedup.py"],
        "an operator, and its method",
    ),
    # A file of the shapes is called after the shape.
    **dict.fromkeys(["prompt.py", "turns.py"], "a shape"),
}  # fmt: skip
# Test folders that hold a view of the whole rather than of one module.
OF_THE_WHOLE = ("agents", "fuzz", "house", "mutation", "pipelines")


def drawers(package: Path) -> list[str]:
    return sorted(p.name for p in package.rglob("*") if p.stem.lower() in DRAWERS)


def weak_classes(package: Path) -> list[str]:
    return [
        node.name
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and WEAK.search(node.name)
    ]


def classes_twice(package: Path) -> dict[str, list[str]]:
    """Return the public class names that mean more than one thing, with their modules."""
    places: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(package)))
    return {name: found for name, found in places.items() if len(found) > 1}


def files_twice(package: Path) -> dict[str, list[str]]:
    """Return the file names that stand in several rooms without a reason in `SAME_NAME`."""
    places: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        if path.name != "__init__.py" and path.name not in SAME_NAME:
            places.setdefault(path.name, []).append(str(path.relative_to(package)))
    return {name: found for name, found in places.items() if len(found) > 1}


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


def test_a_class_name_means_one_thing() -> None:
    assert classes_twice(PACKAGE) == {}


def test_a_file_name_stands_once_or_has_a_reason() -> None:
    assert files_twice(PACKAGE) == {}


def test_names_that_occur_twice_are_found(tmp_path: Path) -> None:
    text = "class Job: ...\nclass _Own: ...\n"
    bad = write_tree(tmp_path, {"a/job.py": text, "b/job.py": text, "b/run.py": "", "a/run.py": ""})
    assert classes_twice(bad) == {"Job": ["a/job.py", "b/job.py"]}
    assert files_twice(bad) == {"job.py": ["a/job.py", "b/job.py"]}
