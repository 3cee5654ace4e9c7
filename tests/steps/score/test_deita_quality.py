"""DEITA's quality of dialogues: every exchange by itself, each with its answer."""

import pytest

from curate.steps.score.deita_complexity import DeitaComplexity
from curate.steps.score.deita_evol import DeitaEvol
from curate.steps.score.deita_quality import DeitaQuality
from tests.steps.score.deita_replies import EVEN, SKEWED, answered


def test_exchanges_are_scored_one_by_one(conversation):
    row = conversation("A?", "B.", "C?", "D.", system="Be brief.")
    found, asked = answered(DeitaQuality(model="m"), row, EVEN, SKEWED)
    assert found.value == pytest.approx(6.6)
    assert found.detail["turns"] == [pytest.approx(3.5), pytest.approx(3.1)]
    texts = [one.messages[0].content for one in asked]
    assert ["A?" in text for text in texts] == [True, False]
    assert ["D." in text for text in texts] == [False, True]
    assert not any("Be brief." in text for text in texts)
    mean = answered(DeitaQuality(model="m", turns="mean"), row, EVEN, SKEWED)[0]
    assert mean.value == pytest.approx(3.3)


def test_a_turn_without_an_answer_has_no_quality(conversation):
    row = conversation("A?", "B.", "C?")
    for step in (DeitaQuality(model="m"), DeitaEvol(model="m")):
        with pytest.raises(ValueError, match="user turn 2 of 2 has no answer"):
            next(step.score(row))
    assert answered(DeitaComplexity(model="m"), row, EVEN, EVEN)[0].value == pytest.approx(7)
    with pytest.raises(ValueError, match="user turn 1 of 1 has no text"):
        next(DeitaComplexity(model="m").score(conversation(" ")))


def test_small_models_complete_a_line(conversation):
    step = DeitaQuality(model="m", prompt="deita_quality_brief", complete=True)
    (asked,) = answered(step, conversation("Why?", "So."), EVEN)[1]
    assert asked.prompt.endswith("Answer: So.\nScore:")
    assert asked.messages is None
    step.prepare()
    with pytest.raises(ValueError, match="takes"):
        DeitaQuality(model="m", prompt="grounded").prepare()
