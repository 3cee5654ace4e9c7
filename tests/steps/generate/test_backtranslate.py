"""Instruction backtranslation: the text stays as it is, the instruction is written for it."""

from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Drop
from curate.steps.generate.backtranslate import Backtranslate

TEXT = "Rust is iron oxide. " + " ".join(f"word{n}" for n in range(40))


def driven(row: Any, reply: Reply) -> Any:
    asking = Backtranslate(model="m").make(row)
    asked = next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(reply)
    return end.value.value, asked


def test_the_text_becomes_the_answer_unchanged(make_row):
    row = make_row("prompt", {"prompt": (Message("user", TEXT),)}, extra='{"page": 3}')
    record, asked = driven(row, Reply(text=" What is rust?\n"))
    assert record.fields["messages"] == (
        Message("user", "What is rust?"),
        Message("assistant", TEXT),
    )
    assert record.extra == '{"page": 3}'
    assert TEXT in asked.messages[0].content


def test_an_instruction_that_gives_the_text_away_is_dropped(make_row):
    row = make_row("prompt", {"prompt": (Message("user", TEXT),)})
    found, _ = driven(row, Reply(text=f"Write this: {TEXT}"))
    assert found == Drop("the instruction repeats the text")


@pytest.mark.parametrize("reply", [Reply(text=" "), Reply(text="Why", finish_reason="length")])
def test_no_whole_instruction_fails(make_row, reply):
    row = make_row("prompt", {"prompt": (Message("user", TEXT),)})
    with pytest.raises(UnusableReply):
        driven(row, reply)


def test_an_answer_is_taken_before_an_instruction(conversation):
    record, _ = driven(conversation("Old question", "The answer."), Reply(text="New question"))
    assert [m.content for m in record.fields["messages"]] == ["New question", "The answer."]
