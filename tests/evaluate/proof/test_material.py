"""Rows are split before they are curated, whole groups of prompts at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate.proof.held_out_split import apart_from, hold_out_rows, prompt_groups
from curate.evaluate.proof.material import grouped, kind_of, recipe_material
from curate.row import Message, Row
from curate.steps import Contamination, Length, Split
from tests.evaluate.proof.arithmetic import records, write


def row(number: int, prompt: str, **extra: Any) -> Row:
    turns = (Message("user", prompt), Message("assistant", f"answer {number}"))
    return Row(f"{number:032x}", (0, 0, number), "sft", {"messages": turns}, "file",
               json.dumps(extra) if extra else None)  # fmt: skip


LONG = "write a poem about the sea and the stars and the moon for my sister"


def test_prompts_that_are_alike_are_one_group() -> None:
    prompts = ["Name a tree.", LONG, "name a TREE", LONG + " now", "Name a bird."]
    groups = prompt_groups([row(n, text) for n, text in enumerate(prompts)])
    assert groups.tolist() == [0, 1, 0, 1, 4]


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_are_held_out(seed: int) -> None:
    rows = [row(n, f"alpha{n // 3} beta{n // 3} gamma{n // 3}") for n in range(60)]
    split = hold_out_rows(rows, 20, seed)
    assert len(split.held_out) == 18
    assert len(set(split.clusters.tolist())) == 6
    assert not {one.instruction for one in split.held_out} & {
        one.instruction for one in split.candidates
    }
    assert len(split.held_out) + len(split.candidates) == 60
    assert hold_out_rows(rows, 20, seed).held_out == split.held_out


def test_candidates_like_a_neutral_row_are_removed() -> None:
    held = [row(0, LONG), row(1, "Name a tree.")]
    split = apart_from(held, [row(2, LONG + " today"), row(3, "name a tree!"), row(4, "Hello")])
    assert [one.instruction for one in split.candidates] == ["Hello"]
    assert (split.held_out, split.removed) == (held, 2)


def test_a_recipe_sees_candidates_only(tmp_path: Path) -> None:
    rows = [*records(60), *records(60)[:5], {"messages": []}]
    rows[10]["messages"][0]["content"] = "the benchmark asks about seven purple elephants dancing"
    raw = Path(write(tmp_path / "raw.jsonl", rows))
    raw.write_text(raw.read_text() + '{"messages": [\n')
    test_set = write(
        tmp_path / "bench.jsonl",
        [{"question": "the benchmark asks about seven purple elephants dancing"}],
    )
    seen: list[str] = []

    def note(row: Row) -> bool:
        seen.append(row.instruction)
        return len(seen) % 2 == 0

    steps = [Contamination(against=(test_set,), n=5), Length(min=1), note]
    found = recipe_material(
        Pipeline(steps, inputs={"one": str(raw)}), tmp_path / "out", held_out=10, seed=0,
        store=tmp_path / "store", allow_failed=1.0,
    )  # fmt: skip
    # Five duplicates, the contaminated row and what could not be read are in no arm.
    assert len(found.held_out) + len(found.candidates) == 59
    assert len(seen) == len(found.candidates)
    assert not set(seen) & {one.instruction for one in found.held_out}
    assert {one.source for one in found.curated} == {"one"}
    assert {one.id for one in found.curated} < {one.id for one in found.candidates}
    assert any("raw records could not be read" in text for text in found.notes)


def test_made_rows_like_held_out_ones_are_out(tmp_path: Path) -> None:
    from curate.row import Record

    rows = records(60)

    def copy_all(row: Row) -> list[Row | Record]:
        """Make every row that there is, those that are held out included."""
        made = [
            Record("sft", {"messages": tuple(Message(**turn) for turn in one["messages"])})
            for one in records(60)
        ]
        return [row, *made] if row.seq[-1] == 0 else [row]

    found = recipe_material(
        Pipeline([copy_all], inputs=write(tmp_path / "raw.jsonl", rows)), tmp_path / "out",
        held_out=10, seed=0, store=tmp_path / "store",
    )  # fmt: skip
    held = {one.instruction for one in found.held_out}
    assert held
    assert not held & {one.instruction for one in found.curated}
    assert "10 rows that the recipe made are out: like held-out ones" in found.notes


def test_the_test_side_of_a_recipe_is_not_trained_on(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.jsonl", records(80))
    found = recipe_material(
        Pipeline([Split(count=15, share=None)], inputs=raw), tmp_path / "out", held_out=20,
        seed=0, store=tmp_path / "store",
    )  # fmt: skip
    assert (len(found.candidates), len(found.curated)) == (60, 45)
    assert "15 rows that the recipe's `split` tests on are out" in found.notes


def test_held_out_rows_that_leave_no_candidate_are_refused(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.jsonl", records(60))
    with pytest.raises(UsageError, match="no candidate is left of 60 raw rows"):
        recipe_material(Pipeline([], inputs=raw), tmp_path / "out", held_out=raw, seed=0,
                        store=tmp_path / "store")  # fmt: skip


def test_one_kind_of_rows_at_a_time() -> None:
    talk = row(1, "hi")
    pair = Row("2" * 32, (1,), "preference", {})
    assert kind_of([talk]) == "sft"
    for rows in ([], [talk, pair], [Row("3" * 32, (2,), "prompt", {})]):
        with pytest.raises(UsageError, match="prove trains sft rows, or preference rows"):
            kind_of(rows)


def test_a_recipe_that_makes_another_kind_is_refused(tmp_path: Path) -> None:
    from curate.row import Record

    def pair(row: Row) -> Record:
        turns = row.messages
        fields = {
            "prompt": turns[:1],
            "chosen": turns[1:],
            "rejected": (Message("assistant", "n"),),
        }
        return Record("preference", {**fields, "margin": None, "p_chosen": None})

    raw = write(tmp_path / "raw.jsonl", records(60))
    with pytest.raises(UsageError, match="makes preference rows of others"):
        recipe_material(Pipeline([pair], inputs=raw), tmp_path / "out", held_out=10, seed=0,
                        store=tmp_path / "store")  # fmt: skip


def test_groups_by_column_and_by_source() -> None:
    rows = [row(1, "a", who="x"), row(2, "b", who="y"), row(3, "c")]
    notes: list[str] = []
    assert {n: len(g) for n, g in grouped(rows, "who", notes).items()} == {"x": 1, "y": 1}
    assert notes == ["1 rows have no value of 'who' and belong to no group"]
    assert list(grouped(rows, "source", [])) == ["file"]
    with pytest.raises(UsageError, match="no row has a value of 'color'"):
        grouped(rows, "color", [])
