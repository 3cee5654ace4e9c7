"""Bad replies of every generator of dialogues and rewrites: they fail by name, or break a rule."""

from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message, Row
from curate.step import Drop
from curate.steps.generate.backtranslate import Backtranslate
from curate.steps.generate.evolve import COPIED, EMPTY_ANSWER, SORRY, Evolve
from curate.steps.generate.sdf import Sdf
from curate.steps.generate.self_chat import SelfChat

LOOP = "word " * 10_000
REFUSAL = "I'm sorry, but I can't help with that."
UNTEXTS = {
    "empty": ("  \n", "is empty"),
    "a loop": (LOOP, "repeats itself over and over"),
    "a control character": ("Iron\x00 oxide", "control character"),
    "cut off": ("Iron", "cut off at max_tokens"),
}


def reply_of(kind: str) -> Reply:
    reason = "length" if kind == "cut off" else "stop"
    return Reply(text=UNTEXTS[kind][0], finish_reason=reason, key="bad")


def failing(step: Any, row: Row, *replies: Any) -> UnusableReply:
    """Return the error that the last of these replies ends the row with."""
    asking = step.make(row)
    next(asking)
    for reply in replies[:-1]:
        asking.send(reply)
    with pytest.raises(UnusableReply) as error:
        asking.send(replies[-1])
    return error.value


@pytest.fixture
def row(make_row):
    return make_row("prompt", {"prompt": (Message("user", "What is rust?"),)})


@pytest.mark.parametrize("kind", UNTEXTS)
def test_no_text_fails_and_its_reply_is_named(kind, row, conversation) -> None:
    bad, why = reply_of(kind), UNTEXTS[kind][1]
    good = Reply(text="Iron oxide.")
    judged = Reply(text="different")
    answered = conversation("What is rust?", "Iron oxide, a compound.")
    cases = [
        (SelfChat(model="m"), row, [bad]),
        (SelfChat(model="m", user_model="h"), row, [bad]),
        (SelfChat(model="m", user_model="h"), row, [good, bad]),
        (Sdf(model="m", judge="j", samples=2), row, [[good, bad]]),
        (Evolve(model="m"), row, [bad]),
        (Evolve(model="m", on="response"), answered, [bad]),
        (Backtranslate(model="m"), row, [bad]),
    ]
    if kind in ("a loop", "a control character", "cut off"):
        # An empty answer to an evolved instruction is one of WizardLM's rules instead.
        cases.append((Evolve(model="m"), row, [good, [judged, bad]]))
    for step, given, replies in cases:
        error = failing(step, given, *replies)
        assert why in str(error), step
        assert error.key == "bad", step


@pytest.mark.parametrize(
    "ranks",
    [
        "",
        REFUSAL,
        LOOP,
        '{"rationale": "r", "ranks": [1, 2',
        '{"rationale": "r", "ranks": [2, 3]}',
        '{"rationale": "\x00", "ranks": [1, 2]}',
        "1. The first\n3. The second",
    ],
)
def test_ranks_that_cannot_be_read_fail(ranks, row) -> None:
    answers = [Reply(text="a"), Reply(text="b")]
    step = Sdf(model="m", judge="j", samples=2, repairs=0)
    assert failing(step, row, answers, Reply(text=ranks, key="bad")).key == "bad"


@pytest.mark.parametrize(
    ("ranks", "kept"), [("1, 2", True), (" 2,1.", True), ("1 2", False), ("1, 3", False)]
)
def test_ranks_alone_answer_a_prompt_without_a_schema(ranks, kept, row) -> None:
    step = Sdf(
        model="m", judge="j", samples=2, prompt="rank_answers_brief", complete=True, repairs=0
    )
    step.prepare()
    asking = step.make(row)
    next(asking)
    judged = asking.send([Reply(text="a"), Reply(text="b")])
    assert judged.prompt.endswith("Ranks of the answers 1, 2 (1 is the best):")
    assert judged.stop == ("\n",)
    with pytest.raises(StopIteration if kept else UnusableReply):
        asking.send(Reply(text=ranks))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (REFUSAL, "not a transcript"),
        ("[Human] Why?\n[Human] Why?\n[AI] So.", "roles do not alternate"),
        ("[Human] Why?\n[AI] So. [Human] And?\n[AI] So.", "a marker inside a turn"),
        ("1. [Human] Why?\n2. [AI] So.", "not a transcript"),
    ],
)
def test_a_transcript_fails_or_is_dropped_by_name(text, outcome, row) -> None:
    asking = SelfChat(model="m").make(row)
    next(asking)
    if outcome == "not a transcript":
        with pytest.raises(UnusableReply, match=outcome):
            asking.send(Reply(text=text))
        return
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(text=text))
    assert end.value.value == Drop(outcome)


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("The given prompt asks for rust.", None, COPIED),
        ("Why does iron rust?", REFUSAL, SORRY),
        ("Why does iron rust?", " ", EMPTY_ANSWER),
        ("Why does iron rust?", "the of and", EMPTY_ANSWER),
    ],
)
def test_an_evolved_instruction_is_eliminated_by_name(text, answer, reason, row) -> None:
    asking = Evolve(model="m").make(row)
    next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(text=text))
        asking.send([Reply(text="different"), Reply(text=answer or "")])
    assert end.value.value.reason == reason


def test_small_models_complete_what_examples_begin(row, conversation) -> None:
    chat = SelfChat(model="m", prompt="self_chat_brief", complete=True)
    chat.prepare()
    asking = chat.make(row)
    asked = next(asking)
    assert asked.prompt.endswith("Topic: What is rust?\n[Human]")
    assert (asked.messages, asked.stop) == ((), ("\n\n",))
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(text=" What is rust?\n[AI] Iron oxide."))
    turns = [turn.content for turn in end.value.value.fields["messages"]]
    assert turns == ["What is rust?", "Iron oxide."]
    back = Backtranslate(model="m", prompt="backtranslate_brief", complete=True)
    back.prepare()
    asked = next(back.make(conversation("x", "Iron oxide.")))
    assert asked.prompt.endswith("Text: Iron oxide.\nRequest:")
    evolve = Evolve(model="m", on="response", prompt="evolve_answer_brief", complete=True)
    evolve.prepare()
    asked = next(evolve.make(conversation("What is rust?", "Iron oxide.")))
    assert "Question: What is rust?\nAnswer: Iron oxide.\nAnswer " in asked.prompt
    assert asked.stop == ("\n",)


def test_complete_goes_with_one_model_and_without_a_schema() -> None:
    with pytest.raises(ValueError, match="leave user_model out"):
        SelfChat(model="m", user_model="h", complete=True).check()
    with pytest.raises(ValueError, match="as rank_answers_brief"):
        Sdf(model="m", judge="j", complete=True).prepare()
