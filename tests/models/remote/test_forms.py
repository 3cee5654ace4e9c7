"""Choices, likelihoods, templates, tool calls and media on the way to a server on loopback."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Choose, Likelihood, Request, TurnLikelihood
from curate.errors import NotSent, PermanentFault, RecipeError, TemporaryFault, UnusableReply
from curate.models.model import info_of
from curate.row import Message
from tests.models.chaos import Answer, Received, Server, as_json, chat
from tests.models.providers.test_openai import ask_many, hello, unknown
from tests.models.tiny import HEADED, save_trained

AB = ("A", "B")
TURN = (Message("user", "A or B?"),)


def listed(*tops: tuple[str, float], text: str = "A") -> Answer:
    """A chat reply of one token, with its likely alternatives."""
    top = [{"token": token, "logprob": math.log(chance)} for token, chance in tops]
    first = {"token": text, "logprob": top[0]["logprob"], "top_logprobs": top}
    return chat(text, logprobs={"content": [first]}, finish_reason="length", tokens=(9, 1))


def one(handler: Any, request: Request, **options: Any) -> tuple[Any, list[Received]]:
    with Server(handler) as server:
        return ask_many(server, [request], **options)[0], server.received


# -- choices --------------------------------------------------------------------------------------


def test_a_choice_is_one_token_with_its_alternatives() -> None:
    tops = [("A", 0.4), (" A", 0.3), ("A", 0.1), ("B", 0.05), ("Well", 0.1)]
    reply, (seen,) = one(lambda r: listed(*tops), Choose(messages=TURN, options=AB))
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "A or B?"}],
        "logprobs": True,
        "top_logprobs": 20,
        "temperature": 0.0,
        "max_tokens": 1,
    }
    # Two tokens of one text, and one with a space: all of them are the option.
    assert [math.exp(value) for value in reply.values] == pytest.approx([0.8, 0.05])
    assert reply.mass == pytest.approx(0.85)
    assert reply.floored == () and (reply.input_tokens, reply.output_tokens) == (9, 1)


def test_an_option_outside_the_list_is_floored() -> None:
    reply, _ = one(lambda r: listed(("A", 0.9), ("Well", 0.02)), Choose(messages=TURN, options=AB))
    assert reply.floored == (1,)
    assert reply.values == pytest.approx((math.log(0.9), math.log(0.02)))
    assert reply.mass == pytest.approx(0.9)


def test_a_choice_after_raw_text() -> None:
    tops = {" A": math.log(0.6), "B": math.log(0.3)}
    choice = {"text": " A", "finish_reason": "length"}
    choice["logprobs"] = {  # type: ignore[assignment]
        "tokens": [" A"], "token_logprobs": [tops[" A"]], "top_logprobs": [tops]
    }  # fmt: skip
    answer = as_json({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 1}})
    reply, (seen,) = one(lambda r: answer, Choose(prompt="Q: A or B? A:", options=AB))
    assert seen.path == "/v1/completions"
    assert seen.body["prompt"] == "Q: A or B? A:" and seen.body["logprobs"] == 20
    assert [math.exp(value) for value in reply.values] == pytest.approx([0.6, 0.3])


def test_a_server_without_log_probabilities_gives_a_strict_verdict() -> None:
    def handler(request: Received) -> Answer:
        return unknown("logprobs") if "logprobs" in request.body else chat(" B\n")

    asked = [Choose(messages=TURN, options=AB), Choose(messages=TURN, options=("B", "C"))]
    with Server(handler) as server:
        first, second = ask_many(server, asked)
        assert [r.body["max_tokens"] for r in server.received] == [1, 16, 16]
    assert first.values == () and first.chosen(AB) == 1
    assert second.chosen(("B", "C")) == 0


def test_a_server_that_leaves_them_out_silently_is_asked_for_a_text() -> None:
    def handler(request: Received) -> Answer:
        return chat("The", finish_reason="length") if "logprobs" in request.body else chat("A, so")

    reply, seen = one(handler, Choose(messages=TURN, options=AB))
    assert [request.body["max_tokens"] for request in seen] == [1, 16]
    with pytest.raises(UnusableReply, match="not one of the options A, B"):
        reply.chosen(AB)


# -- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Ask(messages=TURN, turn="user"), "for a user's turn; give the model's mapping"),
        (Ask(messages=TURN, prefill="{"), "to begin an answer; give the model's mapping"),
        (Likelihood(messages=TURN, answer="A"), "likelihood of an answer to a chat"),
    ],
)
def test_a_chat_endpoint_is_refused_with_what_to_do(request_: Any, said: str) -> None:
    error, seen = one(lambda r: chat("x"), request_)
    assert isinstance(error, NotSent) and said in str(error) and "tokenizer" in str(error)
    assert not seen


def test_a_server_has_no_likelihood_of_whole_turns(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(HEADED)
    for options in ({}, {"template": str(tmp_path / "chat.jinja")}):
        error, seen = one(lambda r: chat("x"), TurnLikelihood(messages=TURN), **options)
        assert isinstance(error, NotSent) and not seen
        assert "use local, hf: or vllm: for the likelihood of whole turns" in str(error)


def raw(text: str) -> Answer:
    choice = {"text": text, "finish_reason": "stop"}
    return as_json({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 1}})


def test_a_raw_server_is_given_the_template_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(HEADED)
    asked = [
        Ask(messages=TURN, system="Be kind.", max_tokens=5, stop_tokens=("<|end|>",)),
        Ask(messages=TURN, turn="user", prefill="And", max_tokens=5),
        Ask(turn="user", max_tokens=5),
        Choose(messages=TURN, options=AB),
    ]
    with Server(lambda r: raw("A")) as server:
        ask_many(server, asked, template=str(tmp_path / "chat.jinja"))
        assert {request.path for request in server.received} == {"/v1/completions"}
        bodies = [request.body for request in server.received]
    assert bodies[0]["prompt"] == (
        "<|system|>Be kind.<|end|><|user|>A or B?<|end|><|assistant|>"
    ), "the server itself puts begin-of-text before it"
    assert bodies[0]["stop"] == ["<|end|>"]
    assert bodies[1]["prompt"] == "<|user|>A or B?<|end|><|user|>And"
    assert bodies[2]["prompt"] == "<|user|>"
    assert bodies[3]["prompt"] == "<|user|>A or B?<|end|><|assistant|>"


@pytest.mark.slow
@pytest.mark.parametrize("adds", [True, False])
def test_a_raw_server_is_given_the_template_of_a_tokenizer(adds: bool, tmp_path: Path) -> None:
    """Begin-of-text is sent where the server's tokenizer does not add it to every text."""
    folder = save_trained(tmp_path / "model", "bpe")
    if not adds:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    asked = [Ask(messages=TURN, max_tokens=5), Likelihood(messages=(), answer="A")]
    with Server(lambda r: raw("A")) as server:
        ask_many(server, asked, tokenizer=str(folder))
        sent = {request.body["prompt"] for request in server.received}
    begin = "" if adds else "<s>"
    assert sent == {f"{begin}<|user|>A or B?<|end|><|assistant|>", f"{begin}A"}


def test_a_template_is_part_of_the_identity(tmp_path: Path) -> None:
    spec = {"model": "openai:tiny", "base_url": "http://h/v1"}
    (tmp_path / "a.jinja").write_text("{{ messages }}")
    (tmp_path / "b.jinja").write_text("{{ messages }} ")
    names = [
        info_of({**spec, **more}, folder=tmp_path).identity
        for more in ({}, {"template": "a.jinja"}, {"template": "b.jinja"}, {"tokenizer": "x"})
    ]
    assert names[0] == "openai:tiny at http://h/v1" and len(set(names)) == 4
    own = {**spec, "template": "a.jinja", "identity": "mine"}
    assert info_of(own, folder=tmp_path).identity == "mine"
    for wrong, said in (
        ({"template": "none.jinja"}, "no such file"),
        ({"template": "a.jinja", "tokenizer": "x"}, "not both"),
        ({"tokenizer": 7}, "must be a string"),
    ):
        with pytest.raises(RecipeError, match=said):
            info_of({**spec, **wrong}, folder=tmp_path)


@pytest.mark.parametrize(
    ("messages", "before"), [((), ""), (TURN, "<|user|>A or B?<|end|><|assistant|>")]
)
def test_the_likelihood_of_an_answer_to_a_chat(
    messages: tuple[Message, ...], before: str, tmp_path: Path
) -> None:
    def handler(request: Received) -> Answer:
        prompt = request.body["prompt"]
        tokens = [before, *prompt[len(before) :]] if before else list(prompt)
        offsets = [0] + [len(before) + n for n in range(len(tokens) - 1)] if before else list(
            range(len(tokens))
        )  # fmt: skip
        values = [None, *(-float(n) for n in range(1, len(tokens)))]
        found = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets}
        choice = {"text": prompt, "finish_reason": "length", "logprobs": found}
        return as_json({"choices": [choice]})

    (tmp_path / "chat.jinja").write_text(HEADED)
    request = Likelihood(messages=messages, answer="ABC")
    reply, (seen,) = one(handler, request, template=str(tmp_path / "chat.jinja"))
    assert seen.body["prompt"] == before + "ABC"
    # Without begin-of-text nothing is before the first token, and it has no value.
    assert reply.values == ((-1.0, -2.0, -3.0) if before else (-1.0, -2.0))


# -- tool calls and media -------------------------------------------------------------------------

CALL = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}


def parts(**fields: Any) -> str:
    return json.dumps(fields)


def test_tool_calls_travel_in_the_provider_s_form() -> None:
    turns = (
        Message("user", "Weather in Rome and Oslo?"),
        Message("assistant", "", parts(content=None, tool_calls=[CALL, {**CALL, "id": "own"}])),
        Message("tool", "22 degrees"),
        Message("tool", "5 degrees", parts(tool_call_id="own", toxic=False)),
        Message("assistant", "Warm and cold."),
    )
    _, (seen,) = one(lambda r: chat("x"), Ask(messages=turns, max_tokens=8))
    calls = [
        {"id": "call_1_0", "type": "function",
         "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        {"id": "own", "type": "function",
         "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
    ]  # fmt: skip
    assert seen.body["messages"] == [
        {"role": "user", "content": "Weather in Rome and Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "22 degrees", "tool_call_id": "call_1_0"},
        {"role": "tool", "content": "5 degrees", "tool_call_id": "own"},
        {"role": "assistant", "content": "Warm and cold."},
    ]


def test_media_travel_as_content_parts() -> None:
    content = [{"type": "text", "text": "What is it?"}, IMAGE, "and this", {
        "type": "image", "url": "data:image/png;base64,AA=="}]  # fmt: skip
    turns = (Message("user", "What is it?\nand this", parts(content=content)),)
    for request in (Ask(messages=turns, max_tokens=8), Choose(messages=turns, options=AB)):
        _, (seen, *_) = one(lambda r: listed(("A", 0.5)), request)
        (turn,) = seen.body["messages"]
        kinds = [part["type"] for part in turn["content"]]
        assert kinds == ["text", "image_url", "text", "image_url"]
        assert turn["content"][1] == IMAGE


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (Message("user", "", parts(content=[{"type": "image", "image": {"bytes": "AA=="}}])),
         "cannot read image parts"),
        (Message("user", "", parts(content=[{"type": "hologram", "hologram": 1}])),
         "cannot read hologram parts"),
        (Message("assistant", "", parts(tool_calls=[{"id": "x"}])), "a tool call without a name"),
        (Message("tool", "22"), "answers no call"),
    ],
)  # fmt: skip
def test_what_a_server_cannot_read_fails_its_row_unsent(turn: Message, said: str) -> None:
    error, seen = one(lambda r: chat("x"), Ask(messages=(turn,), max_tokens=8))
    assert isinstance(error, NotSent) and said in str(error)
    assert not seen


# -- bounds ---------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed() -> None:
    def handler(request: Received) -> Answer:
        return Answer(b"", 307, {"location": f"http://elsewhere.example:80/{request.text}?key=k"})

    error, seen = one(handler, hello())
    assert isinstance(error, PermanentFault)
    assert "redirects (307) to elsewhere.example; redirects are not followed" in str(error)
    assert "key=k" not in str(error)
    assert len(seen) == 1


def test_an_answer_that_unpacks_to_much_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    from curate.models.providers import openai

    monkeypatch.setattr(openai, "ROOM_BYTES", 100_000)
    packed = zlib.compress(b'{"choices": "' + b" " * 50_000_000 + b'"}')
    bomb = Answer(packed, headers={"content-encoding": "deflate"})
    error, _ = one(lambda r: bomb, hello())
    assert isinstance(error, TemporaryFault) and error.cause == "malformed"
    assert "an answer of more than" in str(error)
    # Of an error only the beginning is read.
    error, _ = one(lambda r: Answer(packed, 400, {"content-encoding": "deflate"}), hello())
    assert isinstance(error, PermanentFault)


def test_an_endless_stream_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.models.providers import openai

    monkeypatch.setattr(openai, "ROOM_BYTES", 100_000)
    monkeypatch.setattr(openai, "TOKEN_BYTES", 1)
    event = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    endless = Answer(event * 20_000, content_type="text/event-stream")
    error, _ = one(lambda r: endless, hello(max_tokens=2000))
    assert isinstance(error, TemporaryFault) and "a stream of more than" in str(error)


def test_a_reply_that_trickles_is_given_up() -> None:
    body = chat("x" * 100).body
    slow = Answer(body, pieces=len(body), pause=0.02)
    error, _ = one(lambda r: slow, hello(), idle_timeout=0.05)
    assert isinstance(error, TemporaryFault) and error.cause == "timeout"
