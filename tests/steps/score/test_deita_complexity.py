"""DEITA's expectations equal hand-computed ones, and no score is one that nobody gave."""

import math

import pytest

from curate.ask import Choose, Reply
from curate.errors import UnusableReply
from curate.steps.score.deita_complexity import DeitaComplexity
from curate.steps.score.deita_quality import DeitaQuality
from tests.steps.score.deita_replies import EVEN, HALF, SKEWED, answered, chances


@pytest.mark.parametrize(("reply", "value"), [(EVEN, 3.5), (SKEWED, 3.1), (HALF, 4.65)])
@pytest.mark.parametrize("step", [DeitaComplexity(model="m"), DeitaQuality(model="m")])
def test_a_score_is_the_expectation_over_the_six_tokens(conversation, step, reply, value):
    found, asked = answered(step, conversation("Why?", "Because."), reply)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.detail["mass"] == [pytest.approx(reply.mass)]
    assert isinstance(asked[0], Choose)
    assert asked[0].options == ("1", "2", "3", "4", "5", "6")


def test_complexity_sees_the_instruction_alone_and_quality_both(conversation):
    row = conversation("Why is it so?", "Because of that.")
    (asked,) = answered(DeitaComplexity(model="m"), row, EVEN)[1]
    assert "Why is it so?" in asked.messages[0].content
    assert "Because of that." not in asked.messages[0].content
    other = answered(DeitaComplexity(model="m"), conversation("Why is it so?", "No."), EVEN)[1]
    assert [asked] == other
    (asked,) = answered(DeitaQuality(model="m"), row, EVEN)[1]
    assert "Why is it so?" in asked.messages[0].content
    assert "Because of that." in asked.messages[0].content


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (chances(0.1, 0.2, 0.4, 0.15, 0.1, 0.05, floored=(5,)), "lacks the score 6"),
        (Reply(values=(-1.0, -1.0, -1.0, -1.0, -1.0, -math.inf)), "lacks the score 6"),
        (Reply(text="3"), "no log-probabilities"),
        (Reply(values=(-1.0, -2.0)), "no log-probabilities"),
    ],
)
def test_a_missing_score_token_fails_the_row_and_is_never_3(conversation, reply, why):
    for step in (DeitaComplexity(model="m"), DeitaQuality(model="m")):
        asking = step.score(conversation("Why?", "Because."))
        next(asking)
        with pytest.raises(UnusableReply, match=why):
            asking.send([reply])
