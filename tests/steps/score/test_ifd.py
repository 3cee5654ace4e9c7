"""IFD: the same tokens with and without the instruction."""

import math

import pytest

from curate.ask import Reply
from curate.steps.score.ifd import Ifd
from tests.steps.score.weighing import NEEDS_LOCAL, asked_of_local, loss_by_hand, scored

GIVEN, ALONE = Reply(values=(-0.5, -1.5)), Reply(values=(-2.0, -3.0))


def test_it_is_the_ratio_of_the_losses(conversation):
    row = conversation("Why?", "Because it is.")
    found, (asked,) = scored(Ifd(model="m"), row, [GIVEN, ALONE])
    assert [one.messages for one in asked] == [row.messages[:1], ()]
    assert {one.answer for one in asked} == {"Because it is."}
    assert found.value == pytest.approx(1.0 / 2.5, rel=1e-12)
    assert found.detail == {"loss_given": 1.0, "loss_alone": 2.5, "tokens": 2}


def test_superfiltering_takes_the_ratio_of_perplexities(conversation):
    found, _ = scored(Ifd(model="m", ratio="perplexity"), conversation("a", "b"), [GIVEN, ALONE])
    assert found.value == pytest.approx(math.exp(1.0) / math.exp(2.5), rel=1e-12)


def test_both_means_are_over_the_same_tokens(conversation):
    # A model without a begin-of-text token gives the first one no value where nothing is before.
    given, alone = Reply(values=(-9.0, -1.0, -1.0)), Reply(values=(-2.0, -2.0))
    found, _ = scored(Ifd(model="m"), conversation("a", "b"), [given, alone])
    assert (found.value, found.detail["tokens"]) == (0.5, 2)


def test_an_instruction_that_hinders_is_flagged_and_dropped(conversation):
    found, _ = scored(Ifd(model="m"), conversation("a", "b"), [ALONE, GIVEN])
    assert found.value == 2.5
    assert found.detail["hinders"] is True
    assert Ifd(model="m").keep(found.value) == (
        "the instruction does not help the answer (IFD above 1)"
    )
    assert Ifd(model="m", max=None).keep(found.value) is None
    assert Ifd(model="m").keep(1.0) is None


def test_what_has_no_ratio_has_no_score(conversation):
    certain = Reply(values=(0.0,))
    assert scored(Ifd(model="m"), conversation("a", "b"), [GIVEN, certain])[0].value is None
    assert scored(Ifd(model="m"), conversation("a", "  "))[0].value is None


@pytest.mark.real
@pytest.mark.slow
@NEEDS_LOCAL
@pytest.mark.parametrize("ratio", ["loss", "perplexity"])
def test_it_equals_a_computation_of_its_own(ratio, conversation):
    rows = [
        conversation("What is the capital of France?", "The capital of France is Paris."),
        conversation("Translate 'cat' into German.", "Soup is best served hot."),
        conversation("Count to five.", "1, 2, 3, 4, 5"),
    ]
    step = Ifd(model="local", ratio=ratio)
    found = asked_of_local(step, rows)
    for one, row in zip(found, rows, strict=True):
        given, alone = loss_by_hand(row.messages[:-1], row.response), loss_by_hand((), row.response)
        by_hand = given / alone if ratio == "loss" else math.exp(given - alone)
        assert one.value == pytest.approx(by_hand, abs=1e-4)
    assert found[0].value < found[1].value, "the instruction helps the answer that fits it more"
    # Alone or beside others, in any order: the batch changes nothing that counts.
    for one, alone in zip(found, asked_of_local(step, rows[::-1])[::-1], strict=True):
        assert one.value == pytest.approx(alone.value, abs=1e-4)
