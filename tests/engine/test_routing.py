"""`only:` shows a step some kinds or sources; every other row passes it untouched."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate import Pipeline
from curate.errors import RecipeError
from curate.pipeline import Result
from curate.row import Message, Record, Row
from curate.step import Generate, dataclass
from curate.steps import Exact, Length, Near, Pii

from .conftest import assert_conserved, fingerprint, run
from .contract_steps import Couples, Fragile, Many, Modulo, Novel, number_in

INPUTS = {
    "chats": [{"instruction": f"question {n % 20} of c@d.org", "output": "yes"} for n in range(30)],
    "bare": [{"prompt": f"question {n % 20} at a@b.org"} for n in range(30)],
    "more": [{"prompt": f"question {n % 5} of e@f.org"} for n in range(10)],
}
STEPS: dict[str, Any] = {
    "filter": Fragile,
    "columnar filter": lambda **k: Length(min=3, on="instruction", **k),
    "generate": Many,
    "columnar generate": Pii,
    "whole": Modulo,
    "columnar whole": Exact,
    "near": lambda **k: Near(on="instruction", **k),
    "gather": lambda **k: Couples(groups=7, **k),
    "grow": lambda **k: Novel(target=8, round_size=4, keep_pool=False, **k),
}


def lines(result: Result) -> Counter[str]:
    """Return how many ledger lines each row has."""
    paths = sorted((result.folder / "ledger").rglob("*.parquet"))
    return Counter(i.hex() for p in paths for i in pq.read_table(p).column("row").to_pylist())


def every(result: Result) -> dict[str, Row]:
    sections = (result.kept, result.used, result.dropped, result.failed)
    return {row.id: row for rows in sections for row in rows}


@pytest.mark.parametrize("only", [("sft",), ("prompt",), ("more",), ("sft", "more")])
@pytest.mark.parametrize("name", STEPS)
def test_other_rows_pass_untouched(
    name: str,
    only: tuple[str, ...],
    tmp_path: Path,
    models: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = models if name == "grow" else None
    result = run([STEPS[name](only=only)], INPUTS, tmp_path, models=asking)
    assert_conserved(result)
    (step,) = result.summary["steps"]
    assert step["in"] == 70
    noted, kept = lines(result), {row.id: row for row in result.kept}
    others = [
        row
        for row in every(result).values()
        if not row.parents and row.seq[0] < 3 and not {row.kind, row.source} & set(only)
    ]
    assert len(others) == 70 - sum(
        len(INPUTS[source])
        for source, kind in (("chats", "sft"), ("bare", "prompt"), ("more", "prompt"))
        if {source, kind} & set(only)
    )
    assert all(row.id in kept and row.id not in noted for row in others)
    assert noted
    # Columns and rows, and parts of any size, say the same.
    monkeypatch.setattr("curate.engine.run.LARGE_BYTES", 0)
    again = run([STEPS[name](only=only)], INPUTS, tmp_path / "large", models=asking, chunk_rows=7)
    assert fingerprint(again.folder) == fingerprint(result.folder)


@pytest.mark.parametrize("name", [n for n in STEPS if n != "grow"])
def test_the_rows_that_are_seen_end_as_they_would_alone(name: str, tmp_path: Path) -> None:
    alone = run([STEPS[name]()], {"chats": INPUTS["chats"]}, tmp_path / "alone")
    mixed = run([STEPS[name](only=("sft",))], INPUTS, tmp_path / "mixed")
    for section in ("used", "dropped", "failed"):
        one = {row.id for row in getattr(alone, section)}
        assert one == {row.id for row in getattr(mixed, section)}, section
    assert {row.id for row in alone.kept} <= {row.id for row in mixed.kept}
    assert alone.summary["steps"][0]["reasons"] == mixed.summary["steps"][0]["reasons"]


def test_only_is_a_rule(tmp_path: Path, models: dict[str, Any]) -> None:
    assert Fragile(only=("sft",)).fingerprint() == Fragile().fingerprint()
    first = run([Fragile(only=("sft",))], INPUTS, tmp_path)
    assert first.rethreshold(fragile=3.0).summary["dropped"] > first.summary["dropped"]
    assert Pipeline.from_yaml("steps: [{length: {min: 3, only: sft}}]").steps == (
        Length(min=3, only=("sft",)),
    )


@dataclass(frozen=True, kw_only=True)
class Revised(Generate):
    """Make a conversation and a preference of each row, as critique and revision does."""

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        return frozenset({"sft", "preference"})

    def make(self, row: Row) -> list[Record]:
        ask = (Message("user", f"question {number_in(row.instruction) % 5}"),)
        better, worse = (Message("assistant", "better"),), (Message("assistant", "worse"),)
        pair = {"prompt": ask, "chosen": better, "rejected": worse}
        return [
            Record("sft", {"messages": (*ask, *better)}),
            Record("preference", {**pair, "margin": None, "p_chosen": None}),
        ]


def test_twins_of_one_parent_are_compared_with_their_own_kind_only(tmp_path: Path) -> None:
    near = Near(on="whole", similarity=0.8)
    rows = INPUTS["chats"]
    mixed = run([Revised(), near], rows, tmp_path / "mixed")
    # Without `only` the preference row is dropped for the conversation made of the same parent.
    assert mixed.summary["kept"] == 5
    routed = run(
        [Revised(), Near(on="whole", similarity=0.8, only=("sft",))], rows, tmp_path / "routed"
    )
    kept = Counter(row.kind for row in routed.kept)
    assert kept == {"sft": 5, "preference": 30}
    assert_conserved(routed)


@dataclass(frozen=True, kw_only=True)
class SaidCouples(Couples):
    """Say what is made."""

    kinds = ("prompt", "sft")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        return frozenset({"sft"})


def test_what_cannot_take_a_kind_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"preference rows reach it; set only: \[sft\]"):
        Pipeline([Revised(), SaidCouples()]).check(["sft"])
    Pipeline([Revised(), SaidCouples(only=("sft",))]).check(["sft"])
    # After a gather that says what it makes, the check goes on; what `only` leaves out is there.
    after = [SaidCouples(only=("prompt",)), Length(min=1, on="response")]
    Pipeline(after).check(["prompt"])
    with pytest.raises(RecipeError, match=r"prompt rows reach it.*only: \[sft\]"):
        Pipeline([SaidCouples(only=("sft",)), Length(min=1, on="response")]).check(
            ["prompt", "sft"]
        )


def test_an_unknown_source_is_refused_with_the_sources_there_are(tmp_path: Path) -> None:
    pipeline = Pipeline([Length(min=1, only=("chat",))], inputs={"chats": "a.jsonl"})
    with pytest.raises(RecipeError, match="did you mean 'chats'"):
        pipeline.check(["sft"])


@pytest.mark.parametrize("only", ["sfft", "other"])
def test_an_unknown_name_is_refused_for_rows_that_a_run_is_given(only: str, tmp_path: Path) -> None:
    """It would pass every row and say nothing."""
    for rows, known in ((INPUTS["chats"], "input"), (INPUTS, "chats")):
        step = Length(min=3, only=(only,))
        with pytest.raises(RecipeError, match=f"record kind or source '{only}'"):
            run([step], rows, tmp_path)
        kept = run([Length(min=3, only=(known,))], rows, tmp_path / known).summary["kept"]
        assert kept == sum(map(len, INPUTS.values())) - 30 if rows is INPUTS else kept == 0


def test_a_name_of_a_kind_and_of_an_input_is_refused(tmp_path: Path) -> None:
    inputs = {"prompt": INPUTS["chats"], "bare": INPUTS["bare"]}
    with pytest.raises(RecipeError, match="'prompt' is a record kind and an input; rename the in"):
        run([Length(min=3, on="whole", only=("prompt",))], inputs, tmp_path)
