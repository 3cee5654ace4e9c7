"""The dataset card tells what a dataset was made of, by what, and how to make it again."""

import json
from pathlib import Path

import pytest
import yaml

from curate import Pipeline
from curate.row import Row
from curate.steps import Length, Near, Split


def polite(row: Row) -> bool:
    return "please" not in row.whole


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    row = {"instruction": "Name a colour.", "output": "Red is one of them."}
    for name in "abc":
        Path(f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def card_of(pipeline: Pipeline, **options: object) -> str:
    return (pipeline.run(run="r", **options).folder / "README.md").read_text(encoding="utf-8")


def test_the_card_names_sources_steps_and_recipe(folder: Path) -> None:
    pipeline = Pipeline(
        [Length(min=3), polite, Near(similarity=0.7, label="alike")], inputs="a.jsonl"
    )
    card = card_of(pipeline)
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["tags"] == ["curate"]
    assert "\n# Made from a.jsonl\n" in text
    assert "- `a.jsonl` (alpaca, 67 bytes, xxh3-128 `" in text
    assert "| `alike` | Drop every row whose text is too similar" in text
    assert f"| {Near.source} |" in text
    assert "1 in + 0 made = 1 kept" in text
    recipe = text.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(recipe)["steps"][0] == {"length": {"min": 3}}
    assert "similarity: 0.7" in recipe


@pytest.mark.parametrize(
    ("inputs", "title"),
    [
        ({"one": "a.jsonl", "two": "b.jsonl"}, "Made from a.jsonl and b.jsonl"),
        ("*.jsonl", "Made from 3 files"),
    ],
)
def test_a_card_without_a_name_is_named_by_its_files(
    folder: Path, inputs: object, title: str
) -> None:
    assert f"\n# {title}\n" in card_of(Pipeline([Length()], inputs=inputs))


def test_a_name_goes_first_and_rows_in_memory_have_no_file(folder: Path) -> None:
    rows = [{"prompt": "a", "completion": "b"}]
    named = Pipeline([Length()], name="mine").run(rows, run="m")
    assert "\n# mine\n" in (named.folder / "README.md").read_text(encoding="utf-8")


def test_the_card_of_a_split_run_says_that_the_folder_has_both_sides(folder: Path) -> None:
    said = "`curate export RUN --split train` writes one side"
    assert said in card_of(Pipeline([Split()], inputs="a.jsonl"))
    assert said not in card_of(Pipeline([Near()], inputs="a.jsonl"), replace=True)
