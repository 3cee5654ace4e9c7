"""What a step returns may be wrong in any way: its own row fails, no other, and the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.chunk import Chunk
from curate.errors import RecipeError, StoppedShort
from curate.row import Candidate, Message, Record, Row
from curate.step import (
    Drop,
    Filter,
    Gather,
    Generate,
    Grow,
    Scored,
    Scores,
    Verdicts,
    Whole,
)

from .conftest import assert_conserved, run
from .contract_steps import numbered

PROMPT = (Message("user", "x"),)
HALF = "half \ud800"


def made(**others: Any) -> Record:
    return Record("prompt", {"prompt": PROMPT}, **others)


def ranked(candidate: Any) -> Record:
    return Record("ranked", {"prompt": PROMPT, "candidates": (candidate,)})


def prefers(margin: Any) -> Record:
    fields = {"prompt": PROMPT, "chosen": PROMPT, "rejected": PROMPT, "margin": margin}
    return Record("preference", fields)


WRONG: dict[str, Any] = {
    "a candidate that is a dict": lambda row: ranked({"messages": []}),
    "a candidate's text score": lambda row: ranked(Candidate(PROMPT, score="high")),  # type: ignore[arg-type]
    "a candidate's model": lambda row: ranked(Candidate(PROMPT, model=HALF)),
    "fields that are none": lambda row: Record("prompt", None),  # type: ignore[arg-type]
    "extra that is a dict": lambda row: made(extra={"a": 1}),
    "extra that is not JSON": lambda row: made(extra="a: 1"),
    "extra that is a list": lambda row: made(extra="[1]"),
    "parts that are not JSON": lambda row: Record("prompt", {"prompt": (Message("u", "x", "a"),)}),
    "a role that is half a character": lambda row: Record(
        "prompt", {"prompt": (Message(HALF, "x"),)}
    ),
    "parents that are not ids": lambda row: made(parents=("zz",)),
    "parents that it was not given": lambda row: made(parents=("0" * 32,)),
    "parents that are numbers": lambda row: made(parents=(5,)),
    "a number too large": lambda row: prefers(10**400),
    "a number that is none": lambda row: prefers(float("nan")),
    "a number that is a flag": lambda row: prefers(True),
    "a changed row": lambda row: row._replace(fields={"messages": PROMPT}),
    "a row from elsewhere": lambda row: row._replace(id="0" * 32),
    "a drop without a reason": lambda row: Drop(None),  # type: ignore[arg-type]
    "a drop with an empty reason": lambda row: Drop(""),
    "a drop's half reason": lambda row: Drop(HALF),
    "a drop's text score": lambda row: Drop("no", "high"),  # type: ignore[arg-type]
    "a drop's partner": lambda row: Drop("no", partner="zz"),
    "a drop's detail": lambda row: Drop("no", detail="why"),  # type: ignore[arg-type]
    "a drop of no record": lambda row: Drop("no", record="text"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_made_wrongly_fails_its_own_row(tmp_path: Path, wrong: str) -> None:
    def step(row: Row) -> Any:
        return WRONG[wrong](row) if "question 3" in row.instruction else True

    result = run([step], numbered(6), tmp_path)
    assert result.summary["failed"] == 1
    assert result.summary["kept"] == 5
    assert_conserved(result)


def test_an_error_that_no_file_could_hold_is_escaped(tmp_path: Path) -> None:
    def step(row: Row) -> Any:
        if row.seq[-1]:
            raise ValueError(HALF)
        return row

    result = run([step], numbered(3), tmp_path)
    [table] = result.failed.tables()
    assert table.column("error").to_pylist() == ["ValueError: half \\ud800"] * 2


def test_a_row_may_stay_beside_what_is_made_of_it(tmp_path: Path) -> None:
    result = run([lambda row: [row, made()]], numbered(4), tmp_path)
    assert (result.summary["kept"], result.summary["made"]) == (8, 4)
    assert_conserved(result)


@dataclass(frozen=True, kw_only=True)
class Odd(Filter):
    """Score as it is told."""

    what: str = ""

    def score(self, row: Row) -> Any:
        if "question 3" not in row.instruction:
            return 0.0
        return {"large": 10**400, "text": "a", "detail": Scored(1.0, "x"), "rule": 7.0}[self.what]  # type: ignore[arg-type]

    def keep(self, score: float | None) -> Any:
        return True if score == 7.0 else None


@pytest.mark.parametrize("what", ["large", "text", "detail", "rule"])
def test_a_wrong_score_or_verdict_fails_its_own_row(tmp_path: Path, what: str) -> None:
    result = run([Odd(what=what)], numbered(6), tmp_path)
    assert (result.summary["failed"], result.summary["kept"]) == (1, 5)
    assert_conserved(result)


@dataclass(frozen=True, kw_only=True)
class Quoting(Filter):
    """Quote half of a character, as a reply may hold it."""

    def score(self, row: Row) -> Scored:
        return Scored(1.0, {"said": HALF})

    def keep(self, score: float | None) -> None:
        return None


def test_a_detail_keeps_what_a_reply_held(tmp_path: Path) -> None:
    result = run([Quoting()], numbered(2), tmp_path)
    life = result.explain(next(iter(result.kept)).id)
    assert [event["detail"] for event in life.events] == [{"said": HALF}]


@dataclass(frozen=True, kw_only=True)
class Keyed(Gather):
    """Group by a key that no file could hold for one row."""

    def key(self, row: Row) -> str:
        return HALF if "question 3" in row.instruction else "all"

    def make(self, rows: Sequence[Row]) -> Any:
        return [rows[0], rows[1]._replace(fields={"messages": PROMPT})]


def test_a_key_fails_its_row_and_a_changed_row_its_group(tmp_path: Path) -> None:
    result = run([Keyed()], numbered(6), tmp_path)
    assert result.summary["failed"] == 6
    errors = [error for t in result.failed.tables() for error in t.column("error").to_pylist()]
    assert sum("UnicodeEncodeError" in error for error in errors) == 1
    assert sum("row.rewrite" in error for error in errors) == 5
    assert_conserved(result)


@dataclass(frozen=True, kw_only=True)
class Deciding(Whole):
    """Decide wrongly."""

    what: str = ""

    def sketch_types(self) -> dict[str, str]:
        return {"n": "int64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        return {"n": 1}

    def decide(self, positions: np.ndarray, sketches: Any) -> Verdicts:
        code, count = np.zeros(len(positions), np.int64), len(positions)
        return {
            "half a code": lambda: Verdicts(code=code + 0.5, reasons=("a",)),
            "no reason": lambda: Verdicts(code=code, reasons=(None,)),  # type: ignore[arg-type]
            "a text score": lambda: Verdicts(code=code, reasons=("a",), score=["x"] * count),  # type: ignore[arg-type]
            "a text detail": lambda: Verdicts(code=code, reasons=("a",), details=["x"] * count),  # type: ignore[list-item]
        }[self.what]()


@pytest.mark.parametrize("what", ["half a code", "no reason", "a text score", "a text detail"])
def test_a_wrong_decision_stops_the_run_and_names_the_step(tmp_path: Path, what: str) -> None:
    with pytest.raises(StoppedShort, match="step 'deciding' could not decide"):
        run([Deciding(what=what)], numbered(3), tmp_path)
    assert not (tmp_path / "run" / "report.json").exists()


class _Pool:
    def __init__(self, what: str) -> None:
        self.what = what

    def sample(self, random: Any) -> tuple[Row, ...]:
        if self.what == "sample":
            raise KeyError("nothing to sample")
        return ()

    def accept(self, record: Record, row_id: str) -> Any:
        if self.what == "accept":
            raise KeyError("no verdict")
        return "no" if self.what == "verdict" else None


@dataclass(frozen=True, kw_only=True)
class Growing(Grow):
    """Grow wrongly."""

    what: str = ""
    target: int | None = 2
    budget: int | None = 8

    def pool(self, rows: Sequence[Row]) -> _Pool:
        if self.what == "pool":
            raise KeyError("no pool")
        return _Pool(self.what)

    def propose(self, sample: Sequence[Row], random: Any) -> Any:
        return {"drop": [Drop("no")], "record": [made(extra="no")]}.get(self.what, [made()])


@pytest.mark.parametrize("what", ["pool", "sample", "accept", "verdict"])
def test_a_pool_that_fails_stops_the_run_and_names_the_step(tmp_path: Path, what: str) -> None:
    with pytest.raises(StoppedShort, match="step 'growing' could not grow"):
        run([Growing(what=what)], numbered(3), tmp_path)


@pytest.mark.parametrize("what", ["drop", "record"])
def test_a_wrong_proposal_fails_its_request(tmp_path: Path, what: str) -> None:
    result = run([Growing(what=what)], numbered(3), tmp_path)
    assert (result.summary["failed"], result.summary["kept"]) == (8, 3)
    assert_conserved(result)


def test_a_generator_where_no_model_is_asked_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="step 'lazy': returned a generator"):

        def lazy(row: Row) -> Any:
            return (made() for _ in range(2))

        run([lazy], numbered(2), tmp_path)


@dataclass(frozen=True, kw_only=True)
class Brittle(Filter):
    """Break on a whole chunk for one row of it."""

    what: str = "raises"

    def score(self, row: Row) -> float:
        if "question 3" in row.instruction:
            raise ValueError("a brittle row")
        return 1.0

    def score_many(self, chunk: Chunk) -> Scores | None:
        if self.what == "raises":
            raise ValueError("a brittle chunk")
        return Scores(np.ones(len(chunk) + 1))

    def keep(self, score: float | None) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class BrittleMaker(Generate):
    """Break on a whole chunk for one row of it."""

    def make(self, row: Row) -> Row:
        if "question 3" in row.instruction:
            raise ValueError("a brittle row")
        return row

    def make_many(self, chunk: Chunk) -> Any:
        raise ValueError("a brittle chunk")


@dataclass(frozen=True, kw_only=True)
class BrittleSketch(Whole):
    """Break on a whole chunk for one row of it."""

    def sketch_types(self) -> dict[str, str]:
        return {"n": "int64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        if "question 3" in row.instruction:
            raise ValueError("a brittle row")
        return {"n": 1}

    def sketch_many(self, chunk: Chunk) -> Any:
        return {"n": chunk.texts("whole")}

    def decide(self, positions: np.ndarray, sketches: Any) -> Verdicts:
        return Verdicts(code=np.full(len(positions), -1))


@pytest.mark.parametrize(
    "step", [Brittle(), Brittle(what="counts wrongly"), BrittleMaker(), BrittleSketch()]
)
def test_a_vectorised_form_that_breaks_fails_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Any
) -> None:
    monkeypatch.setattr("curate.engine.run.LARGE_BYTES", 0)
    result = run([step], numbered(8), tmp_path, chunk_rows=3)
    assert (result.summary["failed"], result.summary["kept"]) == (1, 7)
    assert_conserved(result)
