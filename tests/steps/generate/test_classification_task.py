"""Task types: a probability where the model gives one, a strict verdict where it does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Scored
from curate.steps.generate.classification_task import ClassificationTask


def driven(work: Any, reply: str | Reply) -> tuple[Any, Any]:
    """Return what a step makes of one reply, and what it asked."""
    asked = next(work)
    try:
        work.send(Reply(text=reply) if isinstance(reply, str) else reply)
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks again")


def test_the_type_is_a_probability_where_the_model_gives_one(make_row):
    row = make_row("prompt", {"prompt": (Message("user", "Convert the measurement."),)})
    step = ClassificationTask(model="m", complete=True)
    reply = Reply(values=(math.log(0.3), math.log(0.1)), mass=0.4)
    score, asked = driven(step.score(row), reply)
    assert score == Scored(pytest.approx(0.75), {"mass": 0.4})
    assert asked.options == ("Yes", "No")
    assert asked.prompt.count("Classification: Yes") == 12
    assert asked.prompt.count("Classification: No") == 19
    assert asked.prompt.endswith("Task: Convert the measurement.\nClassification:")
    assert driven(step.score(row), " No")[0] == 0.0
    with pytest.raises(UnusableReply):
        driven(step.score(row), "Perhaps")


def test_types_can_be_kept_apart():
    assert ClassificationTask(model="m").keep(0.1) is None
    assert ClassificationTask(model="m", at_least=0.5).keep(0.1) == "no classification task"
    assert ClassificationTask(model="m", at_most=0.5).keep(0.9) == "a classification task"
