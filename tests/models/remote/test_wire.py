"""What a server's JSON means, without a server: odd bodies, odd bills, odd ends."""

from __future__ import annotations

from typing import Any

import pytest

from curate.ask import Ask, Embed, Reply
from curate.errors import ModelError, PermanentFault, TemporaryFault
from curate.models.remote.wire import Assembly, body_of, reply_of

ASK = Ask.text("hello", max_tokens=8)
GOOD = {"message": {"content": "fine"}, "finish_reason": "stop"}


def body(choice: dict[str, Any], usage: Any = None) -> dict[str, Any]:
    return {"choices": [choice], "usage": usage}


def used(usage: Any) -> tuple[int, int]:
    reply = reply_of(ASK, body(GOOD, usage))
    return reply.input_tokens, reply.output_tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, (9, 4)),
        # Hidden reasoning in the total only, as some servers count it.
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 300}, (9, 291)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 0}, (9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": None}, (9, 0)),
        ({"prompt_tokens": -9, "completion_tokens": "4"}, (0, 0)),
        ({"prompt_tokens": float("nan"), "completion_tokens": 4.0}, (0, 4)),
        ({"prompt_tokens": 1, "completion_tokens": float("inf")}, (1, 1 << 62)),
        ([], (0, 0)),
        ("none", (0, 0)),
        (None, (0, 0)),
    ],
)
def test_a_bill_is_read_whatever_form_it_has(usage: Any, tokens: tuple[int, int]) -> None:
    assert used(usage) == tokens


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": None}, "finish_reason": "stop"}, "", "stop"),
        ({"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "stop"}, "",
         "stop"),
        ({"message": {"role": "assistant"}, "finish_reason": "length"}, "", "length"),
        ({"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}, "",
         "tool_calls"),
        ({"message": {"content": "a", "refusal": None}, "finish_reason": "end_turn"}, "a", "stop"),
        ({"message": {"content": "a"}, "finish_reason": "eos_token"}, "a", "stop"),
        ({"message": {"content": "a"}, "finish_reason": "model_length"}, "a", "length"),
        ({"message": {"content": "a"}, "finish_reason": "MAX_TOKENS"}, "a", "length"),
        ({"message": {"content": "a"}, "finish_reason": None}, "a", "stop"),
        ({"text": None, "finish_reason": "length"}, "", "length"),
        ({"message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
          "finish_reason": "stop"}, "ab", "stop"),
    ],
)  # fmt: skip
def test_what_was_paid_for_is_a_reply(choice: dict[str, Any], text: str, reason: str) -> None:
    reply = reply_of(ASK, body(choice))
    assert (reply.text, reply.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {}},
        {"message": {"content": None}},
        {"message": {"content": 7}, "finish_reason": "stop"},
        {"message": {"content": ["a"]}, "finish_reason": "stop"},
        {"message": {"content": "half"}, "finish_reason": "abort"},
        {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502}},
        {"finish_reason": "stop"},
        None,
    ],
)
def test_what_is_no_reply_is_tried_again(choice: Any) -> None:
    with pytest.raises(TemporaryFault) as fault:
        reply_of(ASK, body(choice))
    assert fault.value.cause == "malformed"


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        (429, TemporaryFault, "rate_limit"),
        ("502", TemporaryFault, "server"),
        (400, PermanentFault, None),
        ("server_error", TemporaryFault, "malformed"),
        (None, TemporaryFault, "malformed"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_inside_a_good_answer_means_what_its_code_says(
    code: Any, kind: type[ModelError], cause: str | None, streamed: bool
) -> None:
    data = {"error": {"message": "no luck", "code": code}}
    with pytest.raises(kind, match="no luck") as fault:
        if streamed:
            Assembly(chat=True).add(data)
        reply_of(ASK, data)
    assert getattr(fault.value, "cause", None) == cause


def test_a_stream_without_text_is_what_a_whole_reply_is() -> None:
    assembly = Assembly(chat=True)
    assembly.add({"choices": [{"delta": {"reasoning_content": "h"}}]})
    assembly.add({"choices": [{"delta": {"reasoning_content": "m"}, "finish_reason": "stop"}]})
    whole = body({"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "stop"})
    assert reply_of(ASK, assembly.whole()) == reply_of(ASK, whole) == Reply(reasoning="hm")


def test_a_stream_in_parts_is_what_a_whole_reply_is() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [[thought], [{"type": "text", "text": "Yes"}], ", it is", [], None]
    assembly = Assembly(chat=True)
    for part in parts:
        assembly.add({"choices": [{"delta": {"content": part}}]})
    assembly.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    text = [{"type": "text", "text": one} for one in ("Yes", ", it is")]
    whole = body({"message": {"content": [thought, *text]}, "finish_reason": "stop"})
    expected = Reply(text="Yes, it is", reasoning="hm")
    assert reply_of(ASK, assembly.whole()) == reply_of(ASK, whole) == expected


def test_each_sample_has_its_own_seed() -> None:
    asks = [Ask.text("hello", seed=7, sample=sample) for sample in range(3)]
    assert [body_of(ask, "m", "max_tokens")["seed"] for ask in asks] == [7, 8, 9]
    assert "seed" not in body_of(ASK, "m", "max_tokens")


def test_vectors_are_billed_by_what_was_read() -> None:
    data = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 3,
            "total_tokens": 3}}  # fmt: skip
    reply = reply_of(Embed(texts=("a",)), data)
    assert (reply.input_tokens, reply.output_tokens) == (3, 0)
