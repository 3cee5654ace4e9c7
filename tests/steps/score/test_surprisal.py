"""Surprisal: that of the last answer behind the turns before it."""

import pytest

from curate.ask import Reply
from curate.row import Message
from curate.steps.score.surprisal import Surprisal
from tests.steps.score.weighing import NEEDS_LOCAL, asked_of_local, loss_by_hand, scored


def test_it_is_the_mean_loss_of_the_last_answer(make_row):
    turns = (
        Message("system", "Be brief."),
        Message("user", "Why?"),
        Message("assistant", "Because."),
        Message("user", "And why?"),
        Message("assistant", "I said so."),
    )
    row = make_row("sft", {"messages": turns})
    found, (asked,) = scored(Surprisal(model="m"), row, Reply(values=(-1.0, -2.0, -6.0)))
    assert (asked.messages, asked.answer) == (turns[:4], "I said so.")
    assert (found.value, found.detail) == (3.0, {"tokens": 3})


def test_of_a_pair_the_chosen_answer_counts(make_row):
    prompt = (Message("user", "Why?"),)
    row = make_row(
        "preference",
        {
            "prompt": prompt,
            "chosen": (Message("assistant", "good"),),
            "rejected": (Message("assistant", "bad"),),
            "margin": None,
            "p_chosen": None,
        },
    )
    _, (asked,) = scored(Surprisal(model="m"), row, Reply(values=(-1.0,)))
    assert (asked.messages, asked.answer) == (prompt, "good")


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([Message("user", "Why?")], "no answer to weigh"),
        ([Message("assistant", "Hello.")], "nothing before its answer"),
        (
            [Message("user", "Look.", '{"images": ["a.png"]}'), Message("assistant", "A cat.")],
            "tool calls or media",
        ),
        (
            [
                Message("user", "Add."),
                Message(
                    "assistant",
                    "",
                    '{"tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}',
                ),
            ],
            "tool calls or media",
        ),
    ],
)
def test_what_cannot_be_weighed_fails_by_name(turns, problem, make_row):
    with pytest.raises(ValueError, match=problem):
        scored(Surprisal(model="m"), make_row("sft", {"messages": tuple(turns)}))


def test_rules():
    step = Surprisal(model="m", min=1, max=3)
    assert [step.keep(value) for value in (None, 1, 3)] == [None] * 3
    assert step.keep(0.5) == "surprisal below 1"
    assert step.keep(3.5) == "surprisal above 3"


@pytest.mark.real
@pytest.mark.slow
@NEEDS_LOCAL
def test_it_equals_a_computation_of_its_own(conversation):
    rows = [
        conversation("What is the capital of France?", "Paris."),
        conversation("What is the capital of France?", "A large bowl of soup, if you please."),
        conversation("Name a colour.", "Blue is one of them, and red is another one of them."),
    ]
    for found, row in zip(asked_of_local(Surprisal(model="local"), rows), rows, strict=True):
        by_hand = loss_by_hand(row.messages[:-1], row.response)
        assert found.value == pytest.approx(by_hand, abs=1e-4)
