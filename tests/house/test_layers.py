"""Lower layers never import higher ones, nobody imports in circles, and steps stay on their own."""

from pathlib import Path

from tests.house.imports import Import, cycles, imports, modules
from tests.house.places import PACKAGE, write_tree

# The floors of the house, lowest first. A name stands for the module or the room `curate.NAME` with
# everything in it; names on one floor do not import each other. Imports that only a type checker
# sees count like any other.
FLOORS = (
    ("errors", "row"),
    ("ask", "chunk", "system"),
    ("encoders", "prompts", "rows", "step"),
    ("read", "recipe"),
    ("kernels", "models"),
    ("select", "store"),
    ("requests", "runs", "steps"),
    ("train", "write"),
    ("engine", "page", "publish", "review"),
    ("pipeline",),
    ("evaluate",),
    ("cli",),
    ("__main__",),
)
# What steps may never see.
BEYOND_STEPS = ("engine", "models", "pipeline", "requests", "store")
MOST_MODULES_AT_TOP = 8
MOST_FILES_IN_A_ROOM = 25


def area(module: str) -> str:
    return ".".join(module.split(".")[:2])


def own_imports(package: Path) -> list[Import]:
    """Return the imports of the package by itself, those for type checkers included."""
    prefix = package.name + "."
    return [found for found in imports(package) if found.imported.startswith(prefix)]


def upward(package: Path) -> list[str]:
    """Return the imports that go up, or sideways between rooms of one floor."""
    floor = {f"curate.{name}": n for n, names in enumerate(FLOORS) for name in names}
    found = []
    for one in own_imports(package):
        low, high = area(one.importer), area(one.imported)
        if low == high or low == "curate":
            continue
        if floor[high] >= floor[low]:
            found.append(f"{one.importer}:{one.line} imports {one.imported}")
    return found


def circles(package: Path) -> list[list[str]]:
    edges: dict[str, set[str]] = {}
    for one in own_imports(package):
        edges.setdefault(one.importer, set()).add(one.imported)
    return cycles(edges)


def seen_by_steps(package: Path) -> list[str]:
    forbidden = {f"curate.{name}" for name in BEYOND_STEPS}
    return [
        f"{one.importer}:{one.line} imports {one.imported}"
        for one in imports(package)
        if area(one.importer) in ("curate.steps", "curate.kernels")
        and area(one.imported) in forbidden
    ]


def crowded(package: Path) -> list[str]:
    """Return the rooms that hold more files than a reader takes in, and a crowded top."""
    top = [path.name for path in package.glob("*.py") if not path.name.startswith("__")]
    found = [f"curate: {len(top)} modules"] if len(top) > MOST_MODULES_AT_TOP else []
    for room in sorted({path.parent for path in package.rglob("*.py")} - {package}):
        files = [path for path in room.glob("*.py") if path.name != "__init__.py"]
        if len(files) > MOST_FILES_IN_A_ROOM:
            found.append(f"{room.relative_to(package.parent)}: {len(files)} files")
    return found


def test_every_module_has_a_floor() -> None:
    named = {name for names in FLOORS for name in names}
    missing = {area(m).partition(".")[2] for m in modules(PACKAGE)} - named - {""}
    assert not missing, f"add {sorted(missing)} to FLOORS, as low as it can stand"


def test_no_room_is_crowded() -> None:
    assert crowded(PACKAGE) == []


def test_a_crowded_room_is_found(tmp_path: Path) -> None:
    files = {f"m{n}.py": "" for n in range(9)} | {f"read/m{n}.py": "" for n in range(26)}
    bad = write_tree(tmp_path, {"__init__.py": "", "read/__init__.py": "", **files})
    assert crowded(bad) == ["curate: 9 modules", "curate/read: 26 files"]


def test_nothing_imports_upward() -> None:
    assert upward(PACKAGE) == []


def test_no_cycles() -> None:
    assert circles(PACKAGE) == []


def test_steps_see_no_engine_and_no_model() -> None:
    assert seen_by_steps(PACKAGE) == []


def test_an_upward_import_is_found_even_inside_a_function(tmp_path: Path) -> None:
    bad = write_tree(
        tmp_path,
        {
            "__init__.py": "",
            "row.py": "def f():\n    from curate.step import Step\n    return Step\n",
            "step.py": "from __future__ import annotations\n",
            "read/__init__.py": "",
            "read/jsonl.py": "import curate.write.sft\n",
            "write/__init__.py": "",
            "write/sft.py": "",
            "pipeline.py": "def run(): ...\n",
            "engine/__init__.py": "",
            "engine/run.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from curate.pipeline import Pipeline\n"
            ),
        },
    )
    assert upward(bad) == [
        "curate.engine.run:3 imports curate.pipeline",
        "curate.read.jsonl:1 imports curate.write.sft",
        "curate.row:2 imports curate.step",
    ]


def test_a_cycle_is_found(tmp_path: Path) -> None:
    bad = write_tree(
        tmp_path,
        {
            "__init__.py": "",
            "engine/__init__.py": "",
            "engine/a.py": "from . import b\n",
            "engine/b.py": "from .c import x\n",
            "engine/c.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    import curate.engine.a\nx = 1\n"
            ),
            "engine/d.py": "from curate.engine import a\n",
        },
    )
    assert circles(bad) == [["curate.engine.a", "curate.engine.b", "curate.engine.c"]]


def test_a_step_that_names_a_model_is_found(tmp_path: Path) -> None:
    bad = write_tree(
        tmp_path,
        {
            "__init__.py": "",
            "models/__init__.py": "",
            "steps/__init__.py": "",
            "steps/judge.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from curate.models import Model\n"
            ),
        },
    )
    assert seen_by_steps(bad) == ["curate.steps.judge:3 imports curate.models"]
