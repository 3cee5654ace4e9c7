"""Which rows are triples, on which side they are, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import RecipeError, UsageError
from curate.train.data import read_data
from curate.train.settings import method_called, ranker_settings_for
from curate.train.triples import Sides, figures_of_triples, sides_of
from tests.train import planted


def sides(tmp_path: Path, records: list[dict[str, Any]], **changes: Any) -> Sides:
    path = tmp_path / "triples.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return sides_of(read_data(str(path), method_called("scar")), ranker_settings_for(**changes))


def test_a_tenth_each_is_put_aside_whatever_the_order(tmp_path: Path) -> None:
    records = [planted.record(n) for n in range(40)]
    found = sides(tmp_path, records)
    assert [len(side) for side in found] == [32, 4, 4]
    again = sides(tmp_path, records[::-1])
    texts = [{one.instruction for one in side} for side in found]
    assert texts == [{one.instruction for one in side} for side in again]
    assert texts != [{one.instruction for one in side} for side in sides(tmp_path, records, seed=1)]


def test_triples_of_one_instruction_stay_on_one_side(tmp_path: Path) -> None:
    records = [planted.record(n % 20) for n in range(60)]
    found = sides(tmp_path, records)
    assert [len(side) for side in found] == [48, 6, 6]
    seen = [{one.instruction for one in side} for side in found]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]


def test_pairs_outside_the_quality_are_counted(tmp_path: Path) -> None:
    records = [planted.record(n, quality=5.0 if n % 2 else 8.0) for n in range(40)]
    found = sides(tmp_path, records)
    assert len(found.train) < 30
    figures = figures_of_triples(found, ranker_settings_for())
    assert figures["direct_human pairs learnt"] == len(found.train)
    everything = sides(tmp_path, records, quality=(0, 10))
    assert len(everything.train) == 32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origin": "robot"}, "origin` is 'robot', and not human, referenced, direct"),
        ({"origin": "human"}, "two candidates are of the origin 'human'"),
        ({"score": None}, "has no score, and the quality constraint reads it"),
        ({"messages": [{"role": "assistant", "content": " "}]}, "the answer is empty"),
    ],
)
def test_what_is_no_triple_is_refused_with_its_place(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    records = [planted.record(n) for n in range(12)]
    records[4]["candidates"][2] |= change
    with pytest.raises(UsageError, match=rf"1 rows: .*{said}.*triples.jsonl:5\)"):
        sides(tmp_path, records)


def test_nothing_to_learn_or_to_choose_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pair of the 16 triples .*`quality: null`"):
        sides(tmp_path, [planted.record(n, quality=10.0) for n in range(20)])
    with pytest.raises(UsageError, match="4 instructions leave no pair to choose a checkpoint by"):
        sides(tmp_path, [planted.record(n) for n in range(4)])
    with pytest.raises(UsageError, match="scar learns from ranked rows"):
        sides(tmp_path, [{"prompt": "a", "completion": "b"}])


def test_two_answers_are_enough_for_their_ordering(tmp_path: Path) -> None:
    records = [planted.record(n, quality=None) for n in range(20)]
    for one in records:
        del one["candidates"][1]
    found = sides(tmp_path, records, quality=None)
    assert len(found.train) == 16
    figures = figures_of_triples(found, ranker_settings_for())
    assert (figures["direct_human pairs"], figures["direct_referenced pairs"]) == (16, 0)


def test_settings_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    for text, said in {
        "epoch: 1": "there is no 'epoch'",
        "quality: [9, 5]": "low goes first",
        "orderings: [human_direct]": "has no 'human_direct'; known: direct_referenced",
        "orderings: []": "nothing would be learnt",
        "batch_size: 0": "must be more than 0",
        "test: 1.0": "a share is below 1",
        "- 1": "mapping of fields",
    }.items():
        file.write_text(text)
        with pytest.raises(RecipeError, match=said):
            ranker_settings_for(file)
    file.write_text("quality: null\nfreeze: true")
    assert ranker_settings_for(file).quality is None
