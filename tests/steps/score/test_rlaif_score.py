"""Direct RLAIF: the expectation of a rating, rescaled to -1 to 1, by hand."""

import math

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Scored
from curate.steps.score.rlaif_score import RlaifScore
from tests.steps.conftest import row_of, sft


def scored(step, row, weights):
    """Return what the step makes of a model's weights for the ratings, and its request."""
    asking = step.score(row)
    request = next(asking)
    logs = tuple(math.log(one) if one else -1e9 for one in weights)
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(values=logs, mass=0.9))
    return end.value.value, request


@pytest.mark.parametrize(
    ("weights", "rating", "wanted"),
    [
        ([1, *[0] * 9], 1, -1),
        ([*[0] * 9, 1], 10, 1),
        ([1] * 10, 5.5, 0),
        # 0.2 of 4, 0.1 of 7 and 0.1 of 10: (0.8 + 0.7 + 1) / 0.4 = 6.25, (6.25 - 5.5) / 4.5.
        ([0, 0, 0, 0.2, 0, 0, 0.1, 0, 0, 0.1], 6.25, 1 / 6),
    ],
)
def test_ratings_are_weighed_and_rescaled(weights, rating, wanted):
    found, request = scored(RlaifScore(model="j"), sft("q?", "a"), weights)
    assert isinstance(found, Scored)
    assert found.value == pytest.approx(wanted)
    assert found.detail == {"rating": pytest.approx(rating), "mass": 0.9}
    assert request.options == tuple(map(str, range(1, 11)))
    assert "from 1 to 10 and nothing else" in request.messages[0].content


def test_another_scale_is_rescaled_alike_and_raw_text_is_sent():
    step = RlaifScore(model="j", **RlaifScore.for_small_models)
    step.prepare()
    found, request = scored(step, sft("q?", "a"), [0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert found.value == 0
    assert request.messages is None
    assert request.prompt.endswith("Question: q?\nAnswer: a\nRating: (")


def test_the_last_answer_of_a_dialogue_is_rated_with_what_came_before():
    turns = [("user", "one?"), ("assistant", "first"), ("user", "two?"), ("assistant", "second")]
    row = row_of("sft", {"messages": tuple(Message(*turn) for turn in turns)})
    _, request = scored(RlaifScore(model="j"), row, [1] * 10)
    text = request.messages[0].content
    assert "user: one?\n\nassistant: first\n\nuser: two?\n[end of instruction" in text
    assert "]\nsecond\n[end of answer" in text


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(text="7"), "no log-probabilities of the scores 1 to 10"),
        (Reply(values=(*[-1.0] * 9, -math.inf)), "lacks the score 10;"),
        (Reply(values=(-1.0,) * 10, floored=(9, 1)), "lacks the score 2, 10;"),
    ],
)
def test_a_missing_rating_fails(reply, said):
    asking = RlaifScore(model="j").score(sft("q?", "a"))
    next(asking)
    with pytest.raises(UnusableReply, match=said):
        asking.send(reply)


def test_a_limit_decides_and_what_nothing_meets_is_refused():
    assert RlaifScore(model="j", at_least=0.5).keep(0.4) == "scored below 0.5"
    assert RlaifScore(model="j", at_least=0.5).keep(0.5) is None
    assert "at_least" in RlaifScore(model="j").rules()
    for fields, said in (({}, "model must"), ({"at_least": 3}, "-1 to 1"), ({"scale": 1}, "scale")):
        with pytest.raises(ValueError, match=said):
            RlaifScore(**{**({"model": "j"} if fields else {}), **fields}).check()
