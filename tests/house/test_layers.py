"""Lower layers never import higher ones, nobody imports in circles, and steps stay on their own."""

from pathlib import Path

from tests.house.imports import Import, cycles, imports, modules
from tests.house.places import PACKAGE, write_tree

# Lowest first. A name stands for the module or the folder `curate.NAME` with everything in it;
# names on one line do not import each other.
LAYERS = (
    ("errors", "row", "credentials", "pandas_later", "spread"),
    ("ask", "chunk", "data", "recipe", "trees"),
    ("digests", "read"),
    ("step", "prompts"),
    ("kernels",),
    ("replies", "select"),
    ("steps", "fields", "function"),
    ("catalog", "labels"),
    ("check", "parsing", "settings", "recipe_schema"),
    ("pipeline",),
    ("encoders",),
    ("models", "report", "marks"),
    ("write",),
    ("result",),
    ("lookup",),
    ("engine",),
    ("explain", "rethreshold", "standing"),
    ("cli",),
    ("__main__",),
)
# Where a lower layer opens a higher one for the user's convenience, each by one import inside one
# function: `pipeline.run` starts the engine, `result.explain` reads the ledger, and
# `from curate.steps import Length` looks the name up in the catalog.
DOORS = {
    ("curate.pipeline", "curate.engine"),
    ("curate.result", "curate.runs.explain"),
    ("curate.result", "curate.runs.lookup"),
    ("curate.result", "curate.rethreshold"),
    ("curate.steps", "curate.recipe.catalog"),
}
# What steps may never see, not even for a type checker.
BEYOND_STEPS = ("engine", "models", "encoders", "write", "pipeline", "catalog", "cli")


def area(module: str) -> str:
    return ".".join(module.split(".")[:2])


def is_door(found: Import) -> bool:
    """Say whether an import is one of the doors: in the area's own module, inside a function."""
    return not found.at_top and (found.importer, area(found.imported)) in DOORS


def own_imports(package: Path) -> list[Import]:
    """Return the imports that run: those of the package by itself, without those only for types."""
    prefix = package.name + "."
    return [i for i in imports(package) if i.imported.startswith(prefix) and not i.typing_only]


def upward(package: Path) -> list[str]:
    """Return the imports that go up, or sideways between areas of one layer."""
    floor = {f"curate.{name}": n for n, names in enumerate(LAYERS) for name in names}
    found = []
    for one in own_imports(package):
        low, high = area(one.importer), area(one.imported)
        if low == high or low == "curate" or is_door(one):
            continue
        if floor[high] >= floor[low]:
            found.append(f"{one.importer}:{one.line} imports {one.imported}")
    return found


def circles(package: Path) -> list[list[str]]:
    edges: dict[str, set[str]] = {}
    for one in own_imports(package):
        if not is_door(one):
            edges.setdefault(one.importer, set()).add(one.imported)
    return cycles(edges)


def seen_by_steps(package: Path) -> list[str]:
    forbidden = {f"curate.{name}" for name in BEYOND_STEPS}
    return [
        f"{one.importer}:{one.line} imports {one.imported}"
        for one in imports(package)
        if area(one.importer) in ("curate.steps", "curate.kernels")
        and area(one.imported) in forbidden
        and not is_door(one)
    ]


def test_every_module_has_a_layer() -> None:
    named = {name for names in LAYERS for name in names}
    missing = {area(m).partition(".")[2] for m in modules(PACKAGE)} - named - {""}
    assert not missing, f"add {sorted(missing)} to LAYERS, as low as it can stand"


def test_nothing_imports_upward() -> None:
    assert upward(PACKAGE) == []


def test_no_cycles() -> None:
    assert circles(PACKAGE) == []


def test_steps_see_no_engine_and_no_model() -> None:
    assert seen_by_steps(PACKAGE) == []


def test_every_door_is_used() -> None:
    used = [(i.importer, area(i.imported)) for i in own_imports(PACKAGE) if is_door(i)]
    assert sorted(set(used)) == sorted(DOORS)


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
            "pipeline.py": "from curate.engine.run import execute\n",
            "engine/__init__.py": "",
            "engine/run.py": "def execute(): ...\n",
        },
    )
    assert upward(bad) == [
        "curate.pipeline:1 imports curate.engine.run",
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
            "engine/c.py": "def f():\n    import curate.engine.a\nx = 1\n",
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
