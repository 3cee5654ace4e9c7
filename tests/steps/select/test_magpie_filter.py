"""The published filter: four rules with the authors' limits, and the shift in length."""

from __future__ import annotations

from typing import Any

import pytest

from curate.steps.select.magpie_filter import COLON, MagpieFilter

# Quality, reward, the end of the instruction, characters of the answer.
ROWS = [
    (5.0, 1.0, "?", 100),
    (3.0, 9.0, "?", 900),
    (4.0, -10.0, "?", 800),
    (4.0, -9.9, ": ", 700),
    (4.0, -9.9, "?", 300),
    (5.0, 0.0, "?", 100),
    (5.0, 0.0, "?", 200),
]


@pytest.fixture
def rows(conversation: Any) -> list[Any]:
    return [
        conversation(f"Question {n}{end}", "x" * length)._replace(
            scores={"tag": quality, "magpie": reward}
        )
        for n, (quality, reward, end, length) in enumerate(ROWS)
    ]


def test_each_rule_drops_by_its_name(decide: Any, rows: list[Any]) -> None:
    found = decide(MagpieFilter(count=3), rows)
    assert [found.reasons[code] if code >= 0 else None for code in found.code] == [
        None,
        "the quality of the instruction is below 4",
        "the reward is not above -10",
        COLON,
        None,
        "not among the 3 longest answers",
        None,
    ], "of two answers of the same length the earlier one stays"
    assert found.score.tolist() == [float(length) for *_, length in ROWS]
    assert max(map(len, found.reasons)) <= 80


def test_the_shift_in_length_is_in_the_figures(decide: Any, rows: list[Any]) -> None:
    figures = decide(MagpieFilter(count=3), rows).figures
    every = sum(length for *_, length in ROWS) / len(ROWS)
    assert figures["mean characters, all rows"] == pytest.approx(every)
    assert figures["mean characters, by rules"] == 175.0
    assert figures["mean characters, kept"] == 200.0
    assert figures["median characters, all rows"] == 300.0
    assert figures["length shift"] == pytest.approx(200 / every)
    # Longest first is what shifts: without it the rules alone decide.
    assert decide(MagpieFilter(count=None), rows).figures["mean characters, kept"] == 175.0


def test_the_defaults_are_the_authors() -> None:
    step = MagpieFilter()
    assert (step.at_least, step.above, step.count, step.colon) == (4.0, -10.0, 300_000, False)
    assert step.reads_scores() == ("tag", "magpie")
    assert MagpieFilter(reward=None).reads_scores() == ("tag",)
    with pytest.raises(ValueError, match="count is 0"):
        MagpieFilter(count=0).check()


def test_rules_can_be_left_out(decide: Any, rows: list[Any]) -> None:
    found = decide(MagpieFilter(reward=None, colon=True, at_least=1.0, count=None), rows)
    assert (found.code < 0).all()


def test_a_row_without_a_score_fails_and_is_not_dropped(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="no score by 'tag'"):
        MagpieFilter().sketch(rows[0]._replace(scores={}))
    assert len(MagpieFilter().decide([], _empty()).code) == 0


def _empty() -> Any:
    import pyarrow as pa

    return pa.table({"quality": [], "reward": [], "colon": [], "length": []})
