"""Self-distillation: the planted best answer is kept, whatever order the judge saw."""

import json
from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.steps.generate.sdf import Sdf

ANSWERS = ("bad", "best", "fair", "poor")
# The planted ranks of those answers.
RANKS = {"best": 1, "fair": 2, "poor": 3, "bad": 4}


def driven(step: Sdf, row: Any, ranks: dict[str, int] | str) -> Any:
    """Return what `step` makes when a judge ranks the answers so, and the judge's prompt."""
    asking = step.make(row)
    asked = next(asking)
    assert [(a.model, a.sample) for a in asked] == [("m", n) for n in range(len(asked))]
    judged = asking.send([Reply(text=text) for text in ANSWERS[: step.samples]])
    text = judged.messages[0].content
    if isinstance(ranks, dict):
        shown = sorted(ranks, key=lambda answer: text.index(f"]\n{answer}\n[end of answer"))
        ranks = json.dumps({"rationale": "r", "ranks": [ranks[answer] for answer in shown]})
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(text=ranks))
    return end.value.value, text


@pytest.fixture
def rows(make_row):
    return [make_row("prompt", {"prompt": (Message("user", f"Question {n}?"),)}) for n in range(12)]


def test_planted_ranks_pick_the_planted_best(rows):
    orders = set()
    for row in rows:
        made, _ = driven(Sdf(model="m", judge="j"), row, RANKS)
        assert made.record.fields["messages"][-1] == Message("assistant", "best")
        assert (made.score, made.detail["ranks"]) == (3.0, [4, 1, 2, 3])
        orders.add(tuple(made.detail["shown"]))
    assert len(orders) > 3, "the order that the judge sees is drawn by the row's seed"


def test_of_answers_that_share_the_first_rank_the_first_is_kept(rows):
    tied = {"bad": 2, "best": 1, "fair": 1, "poor": 1}
    for row in rows:
        made, _ = driven(Sdf(model="m", judge="j"), row, tied)
        assert made.record.fields["messages"][-1].content == "best"


def test_all_answers_can_stay_as_candidates(rows):
    made, _ = driven(Sdf(model="m", judge="j", to="ranked"), rows[0], RANKS)
    found = [(c.messages[0].content, c.score) for c in made.record.fields["candidates"]]
    assert found == [("bad", 0.0), ("best", 3.0), ("fair", 2.0), ("poor", 1.0)]


@pytest.mark.parametrize(
    "ranks",
    [
        '{"rationale": "r", "ranks": [1, 2, 3]}',
        '{"rationale": "r", "ranks": [2, 2, 3, 4]}',
        '{"rationale": "r", "ranks": [1, 2, 3, 5]}',
        '{"rationale": "r"}',
        "The second is best.",
    ],
)
def test_ranks_that_are_not_one_for_each_answer_fail(rows, ranks):
    with pytest.raises(UnusableReply):
        driven(Sdf(model="m", judge="j", repairs=0), rows[0], ranks)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "m"}, "model and judge"),
        ({"model": "m", "judge": "j", "samples": 1}, "must be 2 or more"),
        ({"model": "m", "judge": "j", "temperature": 0.0}, "all samples are one answer"),
    ],
)
def test_a_step_that_cannot_choose_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Sdf(**fields).check()
