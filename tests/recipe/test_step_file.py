"""Steps from a file: named by recipes and commands, never by data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate import Pipeline, Result
from curate.errors import RecipeError, UsageError
from curate.recipe import step_file

SHOUTING = """
from __future__ import annotations
from dataclasses import dataclass
from curate.row import Row
from curate.step import Filter, rule

@dataclass(frozen=True, kw_only=True)
class Shouting(Filter):
    \"\"\"Drop rows that shout.\"\"\"

    max: float | None = rule(0.5)

    def score(self, row: Row) -> float:
        letters = [c for c in row.response if c.isalpha()]
        return sum(c.isupper() for c in letters) / max(1, len(letters))

    def keep(self, score: float | None) -> str | None:
        return "shouts" if score is not None and score > self.max else None
"""
RECIPE = "inputs: rows.jsonl\nsteps:\n- ./mine.py:Shouting:\n    max: 0.4\n- length\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(SHOUTING)
    Path("rows.jsonl").write_text(
        '{"instruction": "a", "output": "LOUD"}\n{"instruction": "b", "output": "calm"}\n'
    )
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_a_recipe_names_a_file(here: Path) -> None:
    pipeline = Pipeline.from_yaml("recipe.yaml")
    assert pipeline.steps[0].title == "shouting"
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
    assert "./mine.py:Shouting" in pipeline.to_yaml()
    result = pipeline.run(run="r")
    assert (result.summary["kept"], result.summary["dropped"]) == (1, 1)
    noted = yaml.safe_load(Path("r/run.yaml").read_text())["data"]["./mine.py:Shouting"]
    assert noted == step_file.digest_of(Path("mine.py").read_bytes())


def test_a_changed_file_is_another_step(here: Path) -> None:
    before = Pipeline.from_yaml("recipe.yaml")
    before.run(run="r")
    Path("mine.py").write_text(SHOUTING.replace("isupper", "islower"))
    after = Pipeline.from_yaml("recipe.yaml")
    assert after.steps[0].fingerprint() != before.steps[0].fingerprint()
    with pytest.raises(UsageError, match="a run of other data"):
        after.run(run="r")
    assert after.run(run="r", replace=True).summary["dropped"] == 1


def test_a_run_folder_brings_in_no_file_but_the_one_it_was_made_with(here: Path) -> None:
    Pipeline.from_yaml("recipe.yaml").run(run="r")
    assert Result.open("r").pipeline.steps[0].title == "shouting"
    Path("mine.py").write_text("raise SystemExit('this must not run')")
    with pytest.raises(UsageError, match=r"mine.py is not that file now"):
        _ = Result.open("r").pipeline
    # As somebody else could write it: a recipe with a file of which `run.yaml` holds no digest.
    noted = yaml.safe_load(Path("r/run.yaml").read_text())
    Path("r/run.yaml").write_text(yaml.safe_dump({**noted, "data": {}}))
    with pytest.raises(UsageError, match=r"mine.py is not that file now"):
        _ = Result.open("r").pipeline


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("./gone.py:Shouting", "", "there is no file gone.py"),
        ("./mine.py:Whispering", "", "holds no step 'Whispering'; its steps: Shouting"),
        ("./bad.py:X", "x = 1\ny = x +\n", r"bad.py:2 cannot be imported: SyntaxError"),
        ("./bad.py:X", "x = 1\nimport nothing_there\n", r"bad.py:2 cannot be imported: Module"),
        ("./bad.py:X", "from curate.steps import Length as X\n", "its steps: none"),
    ],
)
def test_what_is_wrong_is_named(here: Path, name: str, text: str, message: str) -> None:
    Path("bad.py").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Pipeline.from_yaml(f"steps:\n- {name}\n")


def test_commands_take_one_too(here: Path, curate: Callable[..., Any]) -> None:
    done = curate(
        "filter", "rows.jsonl", "./mine.py:Shouting:max=0.4", "length:min=1", "-o", "o.jsonl"
    )
    assert done.exit_code == 0, done.output
    assert len(Path("o.jsonl").read_text().splitlines()) == 1
    assert "shouts" in done.output
    assert "max" in curate("steps", "./mine.py:Shouting").output
    assert "shouts" in curate("preview", "rows.jsonl", "./mine.py:Shouting").output


@pytest.fixture
def curate() -> Callable[..., Any]:
    """Run `curate ARGUMENTS` in this process."""
    from typer.testing import CliRunner

    from curate.cli.main import app

    return lambda *arguments: CliRunner().invoke(app, list(arguments), prog_name="curate")
