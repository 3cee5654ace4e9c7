"""Promise 2 for every kind of step: what decides a reply asks anew, and nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.ask import Ask
from curate.pipeline import Result
from curate.prompts import find
from curate.row import Message, Record, Row
from curate.step import (
    Asking,
    Drop,
    Filter,
    Gather,
    Generate,
    Grow,
    Pool,
    Step,
    Verdicts,
    Whole,
    dataclass,
    rule,
)
from curate.steps import SelfInstruct

from .conftest import fingerprint, run
from .contract_steps import write_script

ROWS = 12


def request(step: Any, text: str) -> Ask:
    prompt = Path(step.prompt).read_text(encoding="utf-8")
    return Ask.text(f"{prompt} {text}", model=step.model, max_tokens=8)


def record(text: str) -> Record:
    return Record("prompt", {"prompt": (Message("user", text),)})


class _Reading(Step):
    """Add the prompt's text to the fingerprint, as a step with a prompt file must."""

    def fingerprint(self) -> dict[str, Any]:
        text = Path(self.prompt).read_text(encoding="utf-8")  # type: ignore[attr-defined]
        return {**super().fingerprint(), "prompt_text": text}


@dataclass(frozen=True, kw_only=True)
class AskingFilter(_Reading, Filter):
    """Score by a reply's length."""

    model: str = "writer"
    prompt: str = ""
    at_least: float | None = rule(None)

    def score(self, row: Row) -> Asking:
        return float(len((yield request(self, row.instruction)).text))

    def keep(self, score: float | None) -> str | None:
        return None


@dataclass(frozen=True, kw_only=True)
class AskingGenerate(_Reading, Generate):
    """Make a prompt of a reply."""

    model: str = "writer"
    prompt: str = ""

    def make(self, row: Row) -> Asking:
        return record((yield request(self, row.instruction)).text)


@dataclass(frozen=True, kw_only=True)
class AskingWhole(_Reading, Whole):
    """Sketch a row by a reply's length."""

    model: str = "writer"
    prompt: str = ""
    longest: int | None = rule(None)

    def sketch_types(self) -> dict[str, str]:
        return {"length": "int64"}

    def sketch(self, row: Row) -> Asking:
        return {"length": len((yield request(self, row.instruction)).text)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        return Verdicts(code=np.full(len(positions), -1))


@dataclass(frozen=True, kw_only=True)
class AskingGather(_Reading, Gather):
    """Make a prompt of one row's reply."""

    model: str = "writer"
    prompt: str = ""

    def key(self, row: Row) -> str:
        return row.instruction

    def make(self, rows: Sequence[Row]) -> Asking:
        return record((yield request(self, rows[0].instruction)).text)


class _Any(Pool):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def accept(self, record: Record, row_id: str) -> Drop | None:
        return None

    def sample(self, random: Random) -> Sequence[Row]:
        return random.sample(list(self.rows), 1)


@dataclass(frozen=True, kw_only=True)
class AskingGrow(_Reading, Grow):
    """Grow by what the model says."""

    model: str = "writer"
    prompt: str = ""
    round_size: int = 4

    def pool(self, rows: Sequence[Row]) -> Pool:
        return _Any(rows)

    def propose(self, sample: Sequence[Row], random: Random) -> Asking:
        return [record((yield request(self, sample[0].instruction)).text)]


KINDS: dict[str, Any] = {
    "filter": AskingFilter,
    "generate": AskingGenerate,
    "whole": AskingWhole,
    "gather": AskingGather,
    "grow": lambda **fields: AskingGrow(target=ROWS, **fields),
}


class Setting:
    """A step of one kind and its model, and the run of them."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind, self.runs = folder, kind, 0
        self.prompt = folder / "prompt.txt"
        self.prompt.write_text("Say something about", encoding="utf-8")
        self.rows = [{"instruction": f"question {n};", "output": "x"} for n in range(ROWS)]
        self.spec: dict[str, Any] = {"model": self.script("a"), "identity": "one"}
        self.other: dict[str, Any] = {"model": self.script("a"), "identity": "other"}
        self.seed, self.rules = 0, dict[str, Any]()

    def script(self, letter: str) -> str:
        entries = [
            {"when": {"contains": f"question {n};"}, "reply": f"{letter}{n}"} for n in range(ROWS)
        ]
        path = write_script(
            self.folder / f"{letter}.jsonl", [*entries, {"when": {}, "reply": f"{letter}!"}]
        )
        return f"scripted:{path}"

    def go(self) -> tuple[int, dict[str, str]]:
        """Return how many requests a run of its own folder sent, and what it published."""
        step = KINDS[self.kind](prompt=str(self.prompt), **self.rules)
        self.runs += 1
        result = run(
            [step],
            self.rows,
            self.folder,
            run=self.folder / f"run{self.runs}",
            models={"writer": self.spec, "judge": self.other},
            seed=self.seed,
        )
        return result.summary["this_time"]["sent"], fingerprint(result.folder)


@pytest.fixture(params=KINDS)
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Setting:
    return Setting(tmp_path, request.param)


CHANGES = ("identity", "model", "temperature", "prompt file", "seed", "pool")


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_a_reply_asks_anew(setting: Setting, change: str) -> None:
    if change == "model":
        # Without an identity of its own, a model is what its name says.
        del setting.spec["identity"]
    assert setting.go()[0] == ROWS
    if change == "identity":
        setting.spec["identity"] = "two"
    elif change == "model":
        setting.spec["model"] = setting.script("b")
    elif change == "temperature":
        setting.spec["temperature"] = 0.5
    elif change == "prompt file":
        setting.prompt.write_text("Say another thing about", encoding="utf-8")
    elif change == "seed":
        setting.seed = 1
    else:
        setting.rows = [*setting.rows[:-1], {"instruction": "question 99;", "output": "new"}]
    sent = setting.go()[0]
    # Judges and sketches share equal requests: they do not depend on the seed. A pool that starts
    # with another row is another pool; elsewhere the new row alone is asked about.
    judging = setting.kind in ("filter", "whole")
    if change == "seed":
        assert sent == (0 if judging else ROWS)
    elif change == "pool":
        assert sent == (ROWS if setting.kind == "grow" else 1)
    else:
        assert sent == ROWS
    # And what was asked before is still known.
    assert setting.go()[0] == 0


@pytest.mark.parametrize("change", ["nothing", "price", "another model", "rule", "concurrency"])
def test_what_decides_no_reply_asks_nothing(setting: Setting, change: str) -> None:
    first = setting.go()
    assert first[0] == ROWS
    if change == "price":
        setting.spec["price"] = {"input": 1.0, "output": 1.0}
    elif change == "another model":
        setting.other["temperature"] = 0.5
    elif change == "concurrency":
        setting.spec["max_concurrency"] = 2
    elif change == "rule":
        rules = {"filter": {"at_least": 1.0}, "whole": {"longest": 9}, "grow": {"patience": 9}}
        setting.rules = rules.get(setting.kind, {})
    assert setting.go() == (0, first[1])


def test_a_changed_prompt_file_is_another_run_in_the_same_folder(tmp_path: Path) -> None:
    from curate.errors import FolderTaken

    setting = Setting(tmp_path, "filter")
    setting.go()
    setting.runs = 0
    setting.prompt.write_text("Say another thing about", encoding="utf-8")
    with pytest.raises(FolderTaken, match="prompts"):
        setting.go()


def grown(folder: Path, name: str = "writer", **fields: Any) -> int:
    """Grow tasks as `self_instruct` does, and return how many requests that took."""
    fields = {"prompt": "tasks.md", "round_size": 2, "human": 2, "patience": 1, **fields}
    reply = json.dumps({"tasks": ["Name the longest river of Peru.", "List five uses of a brick."]})
    write_script(Path("replies.jsonl"), [{"when": {}, "reply": reply}])
    models = {name: {"model": "scripted:replies.jsonl", "identity": "replies"}}
    rows = [{"prompt": f"Say what the number {n} is good for."} for n in range(4)]
    step = SelfInstruct(model=name, target=2, **fields)
    result = run([step], rows, folder, models=models, replace=True)
    return int(result.summary["this_time"]["sent"])


@pytest.fixture
def prompt_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(find("self_instruct_modern"), "tasks.md"))


def test_where_a_prompt_lies_and_what_a_model_is_called_asks_no_round_again(
    prompt_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grown(tmp_path) == 2
    assert grown(tmp_path, prompt="./tasks.md") == 0
    assert grown(tmp_path, prompt=str(tmp_path / "tasks.md")) == 0
    assert grown(tmp_path, name="scribe") == 0
    assert grown(tmp_path, keep_pool=True) == 0
    Path("deep").mkdir()
    prompt_file.rename("deep/mine.md")
    assert grown(tmp_path, prompt="deep/mine.md") == 0
    monkeypatch.chdir("deep")
    assert grown(tmp_path, prompt="mine.md") == 0
    text = Path("mine.md").read_text(encoding="utf-8")
    Path("mine.md").write_text(text.replace("Below are", "Here are"), encoding="utf-8")
    assert grown(tmp_path, prompt="mine.md") == 2


def test_rounds_under_the_key_of_an_earlier_version_are_read(
    prompt_file: Path, tmp_path: Path
) -> None:
    """It named the file of the prompt and the model, and whether the pool stays."""
    assert grown(tmp_path) == 2

    def digest(value: Any) -> str:
        text = json.dumps(value, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    step = SelfInstruct(
        model="writer", prompt="tasks.md", round_size=2, human=2, patience=1, target=2
    )
    fields = {f.name: getattr(step, f.name) for f in dataclasses.fields(step)}
    rules = {name: fields.pop(name) for name in step.rules()}
    rules = {k: v for k, v in rules.items() if k not in ("target", "budget", "patience", "only")}
    ids = [row.id for row in Result.open(tmp_path / "run").used]
    earlier = {"step": step.name, "version": step.version, **fields}
    earlier |= {k: step.fingerprint()[k] for k in ("prompt_text", "seeds")}
    chance = digest([step.title, earlier, rules, None, 0, ids])
    key = digest([chance, [["replies", None, {}]]])
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        sql = "UPDATE small_values SET key = ? || substr(key, 33) WHERE kind = 'round'"
        assert connection.execute(sql, (key,)).rowcount == 1
        # What was asked is found by its round alone.
        connection.execute("DELETE FROM replies")
    connection.close()
    assert grown(tmp_path) == 0
