"""The best answers to a prompt, and what their scores say."""

import pytest

from curate.row import Row
from curate.step import Drop
from curate.steps.pairs.best_of import BestOf
from tests.steps.pairs.answers import FIVE, answer, five


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, [1]), ({"count": 2}, [1, 3]), ({"share": 0.65}, [1, 3, 2]), ({"share": 0.01}, [1]),
        ({"lowest": True}, [4]), ({"lowest": True, "count": 4}, [4, 0, 2, 1]),
    ],
)  # fmt: skip
def test_best_of_keeps_the_best_of_each_prompt(fields, kept):
    rows = five()
    out = BestOf(by="rated", **fields).make(rows)
    assert [row for row in out if isinstance(row, Row)] == [rows[n] for n in kept]
    drops = [one for one in out if isinstance(one, Drop)]
    assert {drop.row for drop in drops} == {row.id for row in rows} - {rows[n].id for n in kept}
    assert {drop.partner for drop in drops} == {rows[kept[0]].id}
    assert all(drop.score == rows[int(drop.row, 16)].scores["rated"] for drop in drops)
    figures = out[-1].values
    assert figures["score of all"] == pytest.approx(2.9)
    assert figures["score of kept"] == pytest.approx(sum(FIVE[n][1] for n in kept) / len(kept))
    if len(kept) == 1:
        assert figures["divergence bound"] == pytest.approx(0.8094379)  # log 5 - 4/5


def test_an_answer_without_a_score_fails_the_group():
    with pytest.raises(ValueError, match="no score by 'rated'"):
        BestOf(by="rated").make([answer(0, "a", 1.0), answer(1, "b")])
