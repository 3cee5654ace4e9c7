"""Rows from nothing: `{count: N}` as an input, and `curate generate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate import Pipeline
from curate.cli.main import app
from curate.errors import RecipeError, UsageError

from .conftest import assert_conserved, fingerprint, run

STEP = '''
from dataclasses import dataclass

from curate.row import Message, Record, Row
from curate.step import Drop, Grow, Generate


@dataclass(frozen=True, kw_only=True)
class Dice(Generate):
    """Make a prompt that names a number drawn for its row."""

    sides: int = 1000000

    def make(self, row: Row) -> Record:
        text = str(row.random(self.title).randrange(self.sides))
        return Record("prompt", {"prompt": (Message("user", text),)})


class Numbers:
    def __init__(self):
        self.seen = 0

    def accept(self, record, row_id):
        self.seen += 1
        return Drop("odd") if self.seen % 2 else None

    def sample(self, random):
        return ()


@dataclass(frozen=True, kw_only=True)
class Growing(Grow):
    """Grow by numbers."""

    keep_pool: bool = False

    def pool(self, rows):
        return Numbers()

    def propose(self, sample, random):
        text = str(random.randrange(1000000))
        return [Record("prompt", {"prompt": (Message("user", text),)})]
'''


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dice.py").write_text(STEP, encoding="utf-8")
    return "dice.py"


def shown(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), prog_name="curate")
    return done.exit_code, done.stderr


def test_a_count_is_so_many_empty_prompts_each_of_its_own(tmp_path: Path) -> None:
    result = run([lambda row: row], {"a": {"count": 20_000}, "b": {"count": 3}}, tmp_path)
    assert_conserved(result)
    assert result.summary["in"] == result.summary["kept"] == 20_003
    rows = list(result.kept)
    assert len({row.id for row in rows}) == 20_003
    assert {(row.kind, row.prompt, row.extra) for row in rows} == {("prompt", (), None)}
    assert [row.source for row in rows[-4:]] == ["a", "b", "b", "b"]
    assert [row.seq for row in rows[19_999:20_001]] == [(0, 0, 19_999), (1, 0, 0)]
    first = run([lambda row: row], {"a": {"count": 20_000}}, tmp_path / "first", limit=17_000)
    assert [row.id for row in first.kept] == [row.id for row in rows[:17_000]]


def test_a_recipe_with_a_count_is_yaml_and_says_what_is_wrong_with_one(tmp_path: Path) -> None:
    pipeline = Pipeline.from_yaml("inputs: {blank: {count: 5}}\nsteps: [{length: {on: whole}}]")
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
    result = pipeline.run(run=tmp_path / "run", store=tmp_path / "store")
    assert result.summary["in"] == 5
    assert "5 empty prompts" in (result.folder / "README.md").read_text(encoding="utf-8")
    for wrong in ("{count: 0}", "{count: many}", "{count: 5, shape: alpaca}"):
        with pytest.raises(RecipeError, match=r"inputs\.blank"):
            Pipeline.from_yaml(f"inputs: {{blank: {wrong}}}\nsteps: [length]")
    with pytest.raises(UsageError, match="makes N empty prompts"):
        run([lambda row: row], {"a": {"count": -1}}, tmp_path)


def test_generate_makes_rows_of_nothing_and_of_a_file(step: str, tmp_path: Path) -> None:
    command = ("generate", f"{step}:Dice:sides=50", "-n", "30", "-o", "made.jsonl")
    assert shown(*command) == (0, shown(*command)[1])
    made = [json.loads(line) for line in Path("made.jsonl").read_text().splitlines()]
    assert len(made) == 30
    assert 1 < len({row["prompt"] for row in made} if isinstance(made[0]["prompt"], str) else
                   {json.dumps(row["prompt"]) for row in made}) <= 50  # fmt: skip
    before = fingerprint(Path("runs/made"))
    assert shown(*command)[0] == 0
    assert fingerprint(Path("runs/made")) == before
    assert shown("generate", f"{step}:Dice", "made.jsonl", "-o", "again.jsonl")[0] == 0
    assert len(Path("again.jsonl").read_text().splitlines()) == 30


def test_generate_grows_to_the_count(step: str) -> None:
    assert shown("generate", f"{step}:Growing", "-n", "12", "-o", "grown.jsonl")[0] == 0
    assert len(Path("grown.jsonl").read_text().splitlines()) == 12


def test_generate_says_what_is_missing_or_too_much(step: str) -> None:
    code, error = shown("generate", f"{step}:Dice", "-o", "x.jsonl")
    assert code == 2
    assert "-n COUNT" in error
    code, error = shown("generate", f"{step}:Dice", "made.jsonl", "-n", "3", "-o", "x.jsonl")
    assert code == 2
    assert "--limit" in error
