"""The tree is the registry: names without imports, classes at first use, errors that help."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import curate.steps
from curate.errors import RecipeError
from curate.recipe import catalog
from curate.step import Filter, rule


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_names_are_file_names() -> None:
    root = Path(curate.steps.__file__).parent
    files = {p.stem for p in root.glob("*/*.py") if not p.name.startswith("_")}
    own = {n for n, op in catalog.operators().items() if op.distribution == "curate-align"}
    assert own == files
    assert catalog.operators()["near"].family == "dedup"
    assert list(catalog.operators()) == sorted(catalog.operators())


def test_listing_imports_no_operator() -> None:
    code = (
        "import sys; from curate.recipe import catalog; catalog.operators();"
        "print([m for m in sys.modules if m.startswith('curate.steps.')])"
    )
    assert in_fresh_process(code) == "[]"


def test_a_class_is_imported_by_its_name_alone() -> None:
    code = (
        "import sys; from curate.steps import Length; print(Length.__module__, "
        "[m for m in sys.modules if m.startswith('curate.steps.dedup')])"
    )
    assert in_fresh_process(code) == "curate.steps.filters.length []"


def test_a_class_that_is_not_there() -> None:
    for name in ("Nothing", "length", "__path_hooks__", "LENGTH"):
        with pytest.raises(AttributeError, match=f"no operator '{name}'"):
            getattr(curate.steps, name)
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'; it has Pipeline"):
        curate.Pipelin  # noqa: B018


def test_an_unknown_step_brings_the_closest_or_the_list() -> None:
    with pytest.raises(RecipeError) as caught:
        catalog.find("lenght")
    assert str(caught.value) == "unknown step 'lenght'; did you mean 'length'?"
    with pytest.raises(RecipeError, match=r"unknown step 'zzz' \(known: .*, near, "):
        catalog.find("zzz")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a family of a folder of its own beside the built-in ones."""
    folders = [*curate.steps.__path__, str(tmp_path)]
    # Where modules are imported from, and where the catalog looks without importing the package.
    monkeypatch.setattr(curate.steps, "__path__", folders)
    monkeypatch.setattr(curate.steps.__spec__, "submodule_search_locations", folders)
    monkeypatch.setattr(catalog, "operators", catalog.operators.__wrapped__)
    catalog.installed.cache_clear()
    (tmp_path / "mine").mkdir()
    yield tmp_path / "mine"
    catalog.installed.cache_clear()
    for name in [m for m in sys.modules if m.startswith("curate.steps.mine")]:
        del sys.modules[name]


def test_a_new_file_is_a_new_operator(tree: Path) -> None:
    (tree / "_shared.py").write_text("")
    (tree / "odd_one.py").write_text(
        "from dataclasses import dataclass\n"
        "from curate.step import Filter\n"
        "from curate.steps.filters.length import Length\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class OddOne(Filter):\n"
        "    '''Drop odd ones.'''\n"
    )
    assert "odd_one" in catalog.operators()
    assert "_shared" not in catalog.operators()
    assert catalog.find("odd_one").__name__ == "OddOne"
    assert catalog.find_class("OddOne") is catalog.find("odd_one")


def test_a_file_without_its_class(tree: Path) -> None:
    (tree / "empty.py").write_text("from curate.steps.filters.length import Length\n")
    with pytest.raises(RecipeError, match="holds no step of that name; name its class so"):
        catalog.find("empty")


def test_a_file_that_needs_what_is_not_installed(tree: Path) -> None:
    (tree / "needy.py").write_text("import surely_not_here\n")
    with pytest.raises(RecipeError, match="needs the module 'surely_not_here', which is not"):
        catalog.find("needy")


def test_a_file_that_cannot_be_imported_hides_no_other(tree: Path) -> None:
    before, _ = catalog.usable()
    (tree / "raising.py").write_text("1 / 0\n")
    (tree / "unreadable.py").write_text("def (\n")
    found, problems = catalog.usable()
    assert found == before
    assert [str(problem).split(" of ")[0] for problem in problems] == [
        "step 'raising'",
        "step 'unreadable'",
    ]
    assert "ZeroDivisionError: division by zero" in str(problems[0])


@dataclass(frozen=True, kw_only=True)
class Told(Filter):
    """Drop what was told.

    Words before the fields. `low` is named in a sentence; so is `high: 3` as YAML has it.

    Attributes:
        words: Those that count,
            on two lines.
        share (float): A share.
    """

    words: tuple[str, ...]
    share: float = 0.5
    low: int | None = rule(None)
    high: int | None = rule(3)
    by: str | None = None


def test_a_step_is_described_by_its_docstring_and_fields() -> None:
    told = catalog.describe(Told)
    assert (told["name"], told["kind"], told["summary"]) == (
        "told",
        "filter",
        "Drop what was told.",
    )
    fields = {field.pop("name"): field for field in told["fields"]}
    assert list(fields) == ["words", "share", "low", "high", "by"]
    assert fields["words"] == {
        "type": "a list, each a string",
        "required": True,
        "default": None,
        "rule": False,
        "doc": "Those that count, on two lines.",
    }
    assert fields["share"]["doc"] == "A share."
    sentence = "`low` is named in a sentence; so is `high: 3` as YAML has it."
    assert fields["low"]["doc"] == fields["high"]["doc"] == sentence
    assert (fields["high"]["default"], fields["high"]["rule"]) == (3, True)
    assert fields["by"]["doc"].startswith("The label of the earlier step")
