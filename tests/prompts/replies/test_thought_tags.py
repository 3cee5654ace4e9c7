"""Thoughts apart from answers: nothing is lost on the way there and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.models.remote.wire import reply_of
from curate.prompts.replies.thought_tags import (
    KEYS,
    BrokenThought,
    answer_turn,
    apart,
    families,
    inline,
    taken_apart,
    thought_of,
    without,
)
from curate.row import Message

# Pieces of which texts with and without thoughts are made, well and badly.
PIECES = st.lists(
    st.sampled_from(
        ["\n", " ", "so", "18", *(t for own in families().values() for t in (own.open, own.close))]
    ),
    max_size=9,
).map("".join)


def says(text: str, **parts: object) -> Message:
    return Message("assistant", text, json.dumps(parts) if parts else None)


@given(PIECES)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    try:
        turn = apart(says(text))
    except BrokenThought:
        return
    assert inline(turn) == says(text)
    found = taken_apart(text)
    assert (found is None) == (turn == says(text))
    assert found is None or found.text() == text


@given(
    st.text("ab \n"),
    st.text("ab \n"),
    st.sampled_from([*families()]),
)
def test_any_thought_comes_back_as_it_was(thought: str, answer: str, tags: str) -> None:
    turn = says(answer, reasoning_content=thought)
    text = inline(turn, tags)
    assert text.parts is None
    back = apart(text)
    if not families()[tags].spaces[1]:
        # Without white space of the family's own, all of it is taken for such.
        back, thought, answer = (
            back._replace(content=back.content.strip()),
            thought.strip(),
            answer.strip(),
        )
    assert (thought_of(back), back.content) == (thought, answer)
    if tags == "think":
        assert back == Message(
            "assistant", answer, json.dumps({"reasoning_content": thought}, separators=(",", ":"))
        )


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nso\n</think>\n\n18", "so", "18"),
        ("so\n</think>\n\n18", "so", "18"),
        ("<think>\n\n</think>\n\n18", "", "18"),
        ("[THINK]so[/THINK]18", "so", "18"),
        ("◁think▷so◁/think▷18", "so", "18"),
        ("<seed:think>so</seed:think>18", "so", "18"),
        ("<thinking>so</thinking> 18", "so", "18"),
        (
            "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>final<|message|>18",
            "so",
            "18",
        ),
        ("Here's my thought process: so\n\nHere's my response: 18", "so", "18"),
    ],
)
def test_every_family_is_read(text: str, thought: str, answer: str) -> None:
    found = taken_apart(text)
    assert found is not None
    assert (found.thought, found.answer) == (thought, answer)
    bare = without(says(text))
    assert bare == says(answer)


@pytest.mark.parametrize("text", ["18", "The tag </think> ends it.", "I say <think> and go on."])
def test_a_tag_that_is_only_mentioned_is_no_thought(text: str) -> None:
    assert taken_apart(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<think>\nso", "a thought without an end"),
        ("[THINK] so", "a thought without an end"),
        ("<think>a</think>b<think>c</think>d", "several thoughts"),
        ("<think>a<think>b</think>c", "several thoughts"),
    ],
)
def test_what_cannot_be_told_apart_is_an_error_with_a_name(text: str, fault: str) -> None:
    with pytest.raises(BrokenThought, match=fault) as error:
        apart(says(text))
    assert error.value.fault == fault


def test_thoughts_in_two_places_are_an_error() -> None:
    with pytest.raises(BrokenThought, match="several"):
        apart(says("<think>a</think>b", reasoning_content="c"))


@pytest.mark.parametrize("key", KEYS)
def test_the_key_of_another_family_is_read_and_written(key: str) -> None:
    turn = says("18", **{key: "so"}, name="n")
    assert thought_of(turn) == "so"
    assert json.loads(apart(turn).parts or "") == {"reasoning_content": "so", "name": "n"}
    assert json.loads(apart(turn, key).parts or "") == {key: "so", "name": "n"}
    assert without(turn) == says("18", name="n")._replace(parts='{"name":"n"}')


@pytest.mark.parametrize(
    "message",
    [
        {"content": "18", "reasoning_content": "so"},
        {"content": "18", "reasoning": "so", "reasoning_content": None},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "so"}]},
                {"type": "text", "text": "18"},
            ]
        },
    ],
)
def test_what_a_server_gives_apart_stays_apart(message: dict[str, object]) -> None:
    data = {"choices": [{"message": message, "finish_reason": "stop"}]}
    reply = reply_of(Ask(messages=(Message("user", "?"),)), data)
    assert Reply.from_json(reply.to_json()) == reply
    turn = answer_turn(reply)
    assert (turn.content, thought_of(turn)) == ("18", "so")
    assert "reasoning" not in Reply(text="18").to_json()


def test_thoughts_without_an_answer_are_no_answer() -> None:
    with pytest.raises(UnusableReply, match="empty"):
        answer_turn(Reply(text=" ", reasoning="so"))
