"""Perplexity: that of the text alone, to the token."""

import math

import pytest

from curate.ask import Reply
from curate.steps.score.perplexity import Perplexity
from tests.steps.score.weighing import NEEDS_LOCAL, asked_of_local, loss_by_hand, scored


def test_it_is_the_exponential_of_the_mean_loss(conversation):
    row = conversation("Why?", "Because it is.")
    found, (asked,) = scored(Perplexity(model="m"), row, Reply(values=(-1.0, -3.0)))
    assert (asked.messages, asked.answer) == ((), "Because it is.")
    assert found.value == pytest.approx(math.exp(2), rel=1e-12)
    assert found.detail == {"loss": 2.0, "tokens": 2}


def test_a_text_without_a_token_has_no_score(conversation):
    assert scored(Perplexity(model="m"), conversation("Why?", " "))[0].value is None
    found, _ = scored(Perplexity(model="m"), conversation("Why?", "I"), Reply(values=()))
    assert found.value is None


def test_a_hopeless_text_is_large_and_no_infinity(conversation):
    found, _ = scored(Perplexity(model="m"), conversation("a", "b"), Reply(values=(-9e9,)))
    assert 1e300 < found.value < math.inf


def test_rules():
    step = Perplexity(model="m", min=2, max=50)
    assert [step.keep(value) for value in (None, 2, 50)] == [None] * 3
    assert step.keep(1.9) == "perplexity below 2"
    assert step.keep(51) == "perplexity above 50"


def test_a_model_must_be_named():
    with pytest.raises(ValueError, match="model must name"):
        Perplexity().check()


@pytest.mark.real
@pytest.mark.slow
@NEEDS_LOCAL
def test_it_equals_a_computation_of_its_own(conversation):
    texts = ["The sky is blue.", "Blue the is sky.", "I", "Zwei Zeilen,\nund eine dritte."]
    rows = [conversation("Say something.", text) for text in texts]
    for found, text in zip(asked_of_local(Perplexity(model="local"), rows), texts, strict=True):
        assert found.detail["loss"] == pytest.approx(loss_by_hand((), text), abs=1e-4)
