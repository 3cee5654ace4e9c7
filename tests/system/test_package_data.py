"""The package finds its prompts, recipes and example data, and they are what they say."""

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from curate.errors import UsageError
from curate.system import package_data as data

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT.parent / "shared" / "data"
EXAMPLES = ROOT / "pipelines" / "data"


def test_a_checkout_keeps_its_files_at_the_root() -> None:
    assert data.folder("pipelines") == ROOT / "pipelines"
    assert data.folder("prompts") == ROOT / "prompts"


def test_an_installed_package_carries_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "_data" / "pipelines"
    inside.mkdir(parents=True)
    (inside / "mine.yaml").touch()
    monkeypatch.setattr(data, "PACKAGE", tmp_path)
    monkeypatch.setattr(data, "folder", data.folder.__wrapped__)  # whose answers are kept
    assert data.folder("pipelines") == inside
    assert data.recipes() == {"mine": inside / "mine.yaml"}


def test_a_recipe_is_a_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ready = data.recipe("quickstart")
    assert ready == ROOT / "pipelines" / "quickstart.yaml"
    Path("quickstart").write_text("steps: []")
    assert data.recipe("quickstart") == Path("quickstart")


@pytest.mark.parametrize("name", ["quickstart", "quickstart.yaml", "pipelines/quickstart.yaml"])
def test_a_ready_recipe_is_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data.recipe(name).samefile(ROOT / "pipelines" / "quickstart.yaml")


@pytest.mark.parametrize("name", ["quikstart", "elsewhere/quickstart.yaml", "quickstart.txt"])
def test_an_unknown_recipe_lists_the_ready_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"no recipe '{name}'.*quickstart"):
        data.recipe(name)


def test_shipped_data_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "pipelines/data/tasks.jsonl.gz"
    assert Path(data.shipped(name)).samefile(EXAMPLES / "tasks.jsonl.gz")
    assert data.shipped("pipelines/data/mine.jsonl") == "pipelines/data/mine.jsonl"
    assert data.shipped("other/tasks.jsonl.gz") == "other/tasks.jsonl.gz"
    mine = tmp_path / name
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert data.shipped(name) == name


def test_every_example_row_names_a_licensed_origin() -> None:
    licences = (EXAMPLES / "LICENSES.md").read_text()
    for path in sorted(EXAMPLES.glob("*.jsonl.gz")):
        rows = _rows(path)
        assert {row["origin"].partition("/")[0] for row in rows} <= _OWNERS.keys()
        for origin in {row["origin"] for row in rows}:
            assert _OWNERS[origin.partition("/")[0]] in licences
        counts = [
            int(line.split("|")[2].replace(",", ""))
            for line in licences.splitlines()
            if f"| `{path.name}`" in line
        ]
        assert sum(counts) == len(rows)


@pytest.mark.real
@pytest.mark.skipif(not SOURCES.is_dir(), reason="needs the source files in ../shared/data")
def test_the_example_data_is_what_the_script_cuts(tmp_path: Path) -> None:
    _script().main(str(SOURCES), str(tmp_path))
    for path in sorted(EXAMPLES.glob("*.jsonl.gz")):
        assert _rows(tmp_path / path.name) == _rows(path)


_OWNERS = {
    "self-instruct": "yizhongw/self-instruct",
    "gpteacher": "teknium1/GPTeacher",
    "sharegpt": "lm-sys/FastChat",
    "oasst": "LAION-AI/Open-Assistant",
    "gsm8k": "openai/grade-school-math",
    "humaneval": "openai/human-eval",
    "llmbar": "princeton-nlp/LLMBar",
    "pandalm": "WeOpenML/PandaLM",
    "mt_bench": "lm-sys/FastChat",
}


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", EXAMPLES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_extra_is_installed_from_the_checkout_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "the clone"
    (root / "curate").mkdir(parents=True)
    monkeypatch.setattr(data, "PACKAGE", root / "curate")
    assert data.install_command("local") == "pip install 'curate-align[local]'"
    for name in ("constraints.txt", "pyproject.toml"):
        (root / name).touch()
    monkeypatch.chdir(tmp_path)
    said = f"pip install -c '{root}/constraints.txt' -e '{root}[local]'"
    assert data.install_command("local") == said
    monkeypatch.chdir(root)
    assert data.install_command("local") == "pip install -c constraints.txt -e '.[local]'"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.jsonl.gz"])
def test_data_in_the_place_of_a_recipe_is_called_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text('{"instruction": "x"}\n{"instruction": "y"}\n')
    with pytest.raises(UsageError, match=f"is data, not a recipe.*curate filter {name} STEP"):
        data.recipe(name)
