"""`openai:` against real servers on loopback: what is sent, what comes back, what goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import ssl
import subprocess
import time
import traceback
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, Likelihood, Reply, Request, Reward
from curate.errors import NotSent, PermanentFault, RecipeError, StoppedShort, TemporaryFault
from curate.models.model import Price, open_model
from curate.models.remote.connection import MOST_TOGETHER
from curate.row import Message
from tests.engine.asking import driver, one
from tests.models import chaos
from tests.models.chaos import (
    CAUSES,
    FAULTS,
    Answer,
    Handler,
    Received,
    Server,
    as_json,
    chat,
    events,
    refusal,
)

KEY = "sk-planted-0123456789abcdef"


def ask_many(server: Server, requests: list[Request], **options: Any) -> list[Any]:
    """Return each request's reply or error, one after the other."""

    async def run() -> list[Any]:
        model = open_model({"model": "openai:tiny", "base_url": server.url, **options})
        found: list[Any] = []
        for request in requests:
            try:
                found.append(await answered(model, request, f"k{len(found)}"))
            except Exception as error:
                found.append(error)
        await model.close()
        return found

    return asyncio.run(run())


async def answered(model: Any, request: Request, key: str) -> Reply:
    """Return the reply, with another try where the model adapts the request, as the engine does."""
    for _ in range(4):
        try:
            reply: Reply = await model.answer(request, key=key, attempt=0)
            return reply
        except TemporaryFault as fault:
            if fault.cause != "adapted" and "read from a text" not in str(fault):
                raise
    raise AssertionError("it adapts for ever")


def ask(handler: Handler, request: Request, **options: Any) -> tuple[Any, Received]:
    with Server(handler) as server:
        found = ask_many(server, [request], **options)[0]
        return found, server.received[0]


def hello(**fields: Any) -> Ask:
    fields.setdefault("max_tokens", 8)
    return Ask.text("hello", **fields)


def test_a_chat_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    schema = {"type": "object", "properties": {"score": {"type": "number"}}}
    closed = {**schema, "required": ["score"], "additionalProperties": False}
    request = hello(
        system="Be kind.", temperature=0.0, top_p=0.9, seed=7, stop=("END",), schema=schema,
        logprobs=3,
    )  # fmt: skip
    reply, seen = ask(lambda r: chat("hi", tokens=(12, 2)), request, api_key_env="TINY_KEY")
    assert reply == Reply(text="hi", input_tokens=12, output_tokens=2)
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hello"},
        ],
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 7,
        "max_tokens": 8,
        "stop": ["END"],
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": closed, "strict": True},
        },
    }


def test_a_raw_completion_goes_without_a_template() -> None:
    found = {
        "tokens": [" a", " b"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{" a": -0.1}, None],
    }
    choice = {"text": " a b", "finish_reason": "length", "logprobs": found}
    answer = as_json({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    request = Ask(prompt="<|user|>", max_tokens=2, logprobs=1)
    reply, seen = ask(lambda r: answer, request)
    assert seen.path == "/v1/completions"
    assert seen.body == {"model": "tiny", "prompt": "<|user|>", "max_tokens": 2, "logprobs": 1}
    assert (reply.text, reply.finish_reason) == (" a b", "length")
    assert reply.logprobs == (
        {"token": " a", "logprob": -0.1, "top": {" a": -0.1}},
        {"token": " b", "logprob": -0.2, "top": {}},
    )


def test_log_probabilities_of_a_chat() -> None:
    top = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -2.0}]
    content = [{"token": "4", "logprob": -0.1, "top_logprobs": top}]
    reply, _ = ask(lambda r: chat("4", logprobs={"content": content}), hello(logprobs=2))
    assert reply.logprobs == ({"token": "4", "logprob": -0.1, "top": {"4": -0.1, "5": -2.0}},)


def test_embeddings_come_back_in_order() -> None:
    data = [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1.0, 2.0]}]
    answer = as_json({"data": data, "usage": {"prompt_tokens": 6, "total_tokens": 6}})
    reply, seen = ask(lambda r: answer, Embed(texts=("a", "b")))
    assert seen.path == "/v1/embeddings"
    assert seen.body == {"model": "tiny", "input": ["a", "b"], "encoding_format": "float"}
    assert [list(vector) for vector in reply.values] == [[1.0, 2.0], [3.0, 4.5]]
    assert reply.input_tokens == 6
    broken = [{"index": 0, "embedding": [None, 1.5]}]
    reply, _ = ask(lambda r: as_json({"data": broken}), Embed(texts=("a",)))
    assert math.isnan(reply.values[0][0]), "JSON has no NaN: servers send null"
    few, _ = ask(lambda r: as_json({"data": data[:1]}), Embed(texts=("a", "b")))
    assert isinstance(few, TemporaryFault) and "1 vectors for 2 texts" in str(few)


def test_the_likelihood_of_an_answer() -> None:
    found = {
        "tokens": ["Q", ": two", " and", " two", "!"],
        "token_logprobs": [None, -1.0, -2.0, -3.0, -9.0],
        "text_offset": [0, 1, 6, 10, 14],
    }
    choice = {"text": "Q: two and two!", "finish_reason": "length", "logprobs": found}
    request = Likelihood(prompt="Q: two", answer=" and two")
    reply, seen = ask(lambda r: as_json({"choices": [choice]}), request)
    assert (seen.body["prompt"], seen.body["echo"]) == ("Q: two and two", True)
    assert reply.values == (-2.0, -3.0)
    none, _ = ask(lambda r: as_json({"choices": [{"text": "!"}]}), request)
    assert isinstance(none, PermanentFault) and "log-probabilities of the prompt" in str(none)


# What llama-cpp-python 0.3.36 answered: each token has the chances of the one behind it.
SHIFTED = {
    "text_offset": [0, 3, 11, 14, 21, 24, 30],
    "token_logprobs": [None, -9.600, -10.462, -11.226, -11.795, -8.453, -18.181],
    "tokens": ["The", " capital", " of", " France", " is", " Paris", "."],
    "top_logprobs": [
        None,
        {" of": -0.412, " capital": -9.6},
        {" the": -1.988, " of": -10.462},
        {" is": -0.432, " France": -11.226},
        {" Paris": -0.264, " is": -11.795},
        {".": -0.376, " Paris": -8.453},
        {"\n": -0.981, ".": -18.181},
    ],
}
# The same text where each token has its own chances; the last one is the one that was written.
IN_PLACE = {
    **SHIFTED,
    "token_logprobs": [None, -5.0, -0.412, -4.1, -0.432, -0.264, -0.376],
    "top_logprobs": [None, {" of": -5.0}, {" of": -0.412}, {" the": -1.988, " France": -4.1},
                     {" is": -0.432}, {" Paris": -0.264}, {".": -0.376}],
}  # fmt: skip


@pytest.mark.parametrize("written", ["\n", ""])
def test_likelihoods_of_the_wrong_tokens_are_refused(written: str) -> None:
    whole = "The capital of France is Paris."
    request = Likelihood(prompt="The capital of France is", answer=" Paris.")
    text = whole + written

    def answer(found: dict[str, Any]) -> Any:
        choice = {"text": text, "logprobs": found, "finish_reason": "length"}
        return ask(lambda r: as_json({"choices": [choice], "usage": {}}), request)[0]

    end = {"<end>": -0.1, ".": -18.181} if not written else SHIFTED["top_logprobs"][-1]  # type: ignore[index]
    shifted = {**SHIFTED, "top_logprobs": [*SHIFTED["top_logprobs"][:-1], end]}  # type: ignore[index]
    refused = answer(shifted)
    assert isinstance(refused, PermanentFault)
    assert "shifted by one token" in str(refused)
    assert answer(IN_PLACE).values == (-0.264, -0.376)


def test_a_long_reply_is_streamed_and_only_silence_times_out() -> None:
    def handler(request: Received) -> Answer:
        assert request.body["stream_options"] == {"include_usage": True}
        parts: list[Any] = [
            {"choices": [{"delta": {"content": f"{n} "}, "finish_reason": None}]} for n in range(8)
        ]
        parts.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        parts.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 16}})
        return events(parts, pieces=10, pause=0.1)

    began = time.monotonic()
    reply, _ = ask(handler, hello(max_tokens=4096), idle_timeout=0.4)
    assert time.monotonic() - began > 0.9, "the whole takes longer than the idle time-out"
    assert reply == Reply(text="0 1 2 3 4 5 6 7 ", input_tokens=3, output_tokens=16)


def test_a_stream_that_breaks_off_is_no_reply() -> None:
    parts = [{"choices": [{"delta": {"content": "half"}, "finish_reason": None}]}]
    undone = events(parts).body.replace(b"data: [DONE]", b"")
    ended, _ = ask(
        lambda r: Answer(undone, content_type="text/event-stream"), hello(max_tokens=None)
    )
    assert isinstance(ended, TemporaryFault) and ended.cause == "malformed"
    dropped, _ = ask(lambda r: events(parts, cut=20), hello(max_tokens=None))
    assert isinstance(dropped, TemporaryFault) and dropped.cause == "connection"
    silent, _ = ask(
        lambda r: events(parts, pieces=2, pause=1.0), hello(max_tokens=None), idle_timeout=0.2
    )
    assert isinstance(silent, TemporaryFault) and silent.cause == "timeout"


@pytest.mark.parametrize("most", [None, 20_000])
def test_long_thoughts_are_no_attack_even_many_at_once(most: int | None) -> None:
    """Ten replies of 12,000 tokens as servers send them: 110 MB of events, 0.4 MB of text."""
    tokens, padding = 12_000, "x" * 850
    parts = [{"choices": [{"delta": {"reasoning_content": "hm, "}}], "obfuscation": padding}]
    parts = parts * tokens + [{"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]}]
    answer = events(parts)
    assert 10 * len(answer.body) > MOST_TOGETHER

    async def run(server: Server) -> list[Reply]:
        model = open_model({"model": "openai:tiny", "base_url": server.url})
        asks = [model.answer(hello(max_tokens=most), key=str(n), attempt=0) for n in range(10)]
        found = await asyncio.gather(*asks)
        await model.close()
        return found

    with Server(lambda request: answer) as server:
        assert asyncio.run(run(server)) == [Reply(text="Yes", reasoning="hm, " * tokens)] * 10


def test_an_error_holds_nothing_of_the_answer() -> None:
    """It lives until the next attempt, and what was parsed can take 180 MB."""
    fault, _ = ask(lambda r: Answer(json.dumps({"choices": [{"odd": 1}]}).encode()), hello())
    assert isinstance(fault, TemporaryFault) and fault.cause == "malformed"
    assert fault.__context__ is None
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(fault.__traceback__)]
    assert "answer" in frames and "reply_of" not in frames


def test_a_stream_that_ends_without_a_reason_is_one_reply() -> None:
    parts = [{"choices": [{"delta": {"content": text}}]} for text in ("whole", " text")]
    parts.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    reply, _ = ask(lambda r: events(parts), hello(max_tokens=None))
    assert reply == Reply(text="whole text", input_tokens=3, output_tokens=2)
    nothing, _ = ask(lambda r: events([]), hello(max_tokens=None))
    assert isinstance(nothing, TemporaryFault) and nothing.cause == "malformed"


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_has_its_cause(kind: str) -> None:
    with Server(lambda r: chaos.fault(kind)) as server:
        error = ask_many(server, [hello()], idle_timeout=0.3)[0]
        assert isinstance(error, TemporaryFault)
        assert error.cause == CAUSES[kind]
        assert error.retry_after == (0.05 if kind == "429 after" else None)
        assert len(server.received) == 1, "the library tried again by itself"


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "refused"), (401, "check the key"), (404, "model's name"), (422, "refused")],
)
def test_what_no_second_try_can_save(status: int, advice: str) -> None:
    error, _ = ask(lambda r: refusal(status, "no such thing"), hello())
    assert isinstance(error, PermanentFault)
    assert "no such thing" in str(error) and advice in str(error)


def test_an_empty_account_is_not_a_rate_limit() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    error, _ = ask(lambda r: as_json(body, 429), hello())
    assert isinstance(error, PermanentFault) and "no credit" in str(error)
    assert error.for_all


@pytest.mark.parametrize(
    ("status", "message", "for_all"),
    [
        (401, "Incorrect API key provided", True),
        (402, "Insufficient Balance", True),
        (404, "The model `gpt-5o` does not exist or you do not have access to it.", False),
        (404, "Not Found", False),
        (403, "flagged by moderation", False),
        (400, "This model's maximum context length is 4096 tokens", False),
    ],
)
def test_what_refuses_everyone_is_no_fault_of_one_request(
    status: int, message: str, for_all: bool
) -> None:
    error, _ = ask(lambda r: refusal(status, message), hello())
    assert isinstance(error, PermanentFault)
    assert error.for_all is for_all


@pytest.mark.parametrize(
    "error",
    [
        {"message": "The model `gpt-5o` does not exist", "code": "model_not_found"},
        {"message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
    ],
)
def test_a_model_that_is_not_there_refuses_everyone(error: dict[str, Any]) -> None:
    found, _ = ask(lambda r: as_json({"error": error}, 404), hello())
    assert isinstance(found, PermanentFault) and found.for_all


def test_a_wrong_key_ends_the_run_and_fails_no_row(tmp_path: Path) -> None:
    with Server(lambda r: refusal(401, "wrong key")) as server:
        model = open_model({"model": "openai:tiny", "base_url": server.url, "max_concurrency": 2})
        with driver(tmp_path, model) as opened:
            with pytest.raises(StoppedShort, match=r"401.*run the same command again"):
                opened.run([one(f"question {n}") for n in range(200)])
            assert opened.spending.tally().sent == len(server.received) <= 8
            assert opened.spending.tally().cost_usd == 0


def test_a_server_that_is_not_there_is_named() -> None:
    with Server(lambda r: chat("x")) as server:
        url = server.url
    error = asyncio.run(
        _error(open_model({"model": "openai:tiny", "base_url": url})),
    )
    assert isinstance(error, TemporaryFault)
    assert error.cause == "connect" and url in str(error)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_a_certificate_that_nobody_knows_is_named(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True, check=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def run() -> Exception | None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}/v1"
        found = await _error(open_model({"model": "openai:tiny", "base_url": url}))
        server.close()
        return found

    error = asyncio.run(run())
    assert isinstance(error, TemporaryFault) and error.cause == "connect"
    assert "certificate" in str(error).lower() and "SSL_CERT_FILE" in str(error)


async def _error(model: Any) -> Exception | None:
    try:
        await model.answer(hello(), key="k", attempt=0)
    except Exception as error:
        return error
    finally:
        await model.close()
    return None


def unknown(field: str, status: int = 400) -> Answer:
    """A refusal whose structured fields name a field of the request, as OpenAI's do."""
    error = {"message": f"Unsupported: {field}", "code": "unsupported_parameter", "param": field}
    return as_json({"error": error}, status)


def test_what_a_server_lacks_is_said_once_and_not_asked_again() -> None:
    def handler(request: Received) -> Answer:
        return unknown("top_logprobs") if "logprobs" in request.body else chat("fine")

    with Server(handler) as server:
        found = ask_many(server, [hello(logprobs=1), hello(logprobs=2), hello()])
        assert [isinstance(one, PermanentFault) for one in found] == [True, True, False]
        assert "does not serve log-probabilities" in str(found[0])
        assert isinstance(found[1], NotSent)
        assert len(server.received) == 2


def test_a_field_of_pydantic_s_details_is_believed() -> None:
    details = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no", "input": 7}]

    def handler(request: Received) -> Answer:
        return as_json({"detail": details}, 422) if "seed" in request.body else chat("fine")

    with Server(handler) as server:
        first, second = ask_many(server, [hello(seed=1), hello(seed=2)])
        assert "does not serve a seed" in str(first) and isinstance(second, NotSent)


def test_a_field_whose_value_is_wrong_is_no_lack() -> None:
    error = {"message": "Too large", "code": "integer_above_max_value", "param": "top_logprobs"}

    def handler(request: Received) -> Answer:
        wrong = request.body.get("top_logprobs") == 99
        return as_json({"error": error}, 400) if wrong else chat("fine")

    with Server(handler) as server:
        found = ask_many(server, [hello(logprobs=99), hello(logprobs=2)])
        assert isinstance(found[0], PermanentFault) and isinstance(found[1], Reply)


# What llama-cpp-python 0.3.36 answers to a schema, with status 500.
NO_SCHEMA = (
    "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), "
    "'msg': \"Input should be 'text' or 'json_object'\", 'input': 'json_schema'}"
)


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, NO_SCHEMA), (400, "response_format is not supported"), (422, "Extra inputs: guided")],
)
def test_a_server_without_schemas_is_asked_without(status: int, message: str) -> None:
    """Words decide about their own request; after two that passed without, the others go so."""

    def handler(request: Received) -> Answer:
        if "response_format" in request.body:
            return refusal(status, message)
        return chat('{"word": "yes"}')

    asks = [hello(schema={"type": "object"}) for _ in range(4)]
    with Server(handler) as server:
        found = ask_many(server, asks)
        assert ["response_format" in r.body for r in server.received] == [True, False] * 2 + [
            False
        ] * 2
    assert [reply.text for reply in found] == ['{"word": "yes"}'] * 4


def test_a_server_that_has_served_a_schema_is_never_asked_without() -> None:
    def handler(request: Received) -> Answer:
        return refusal(400, "response_format unsupported") if "no" in request.text else chat("{}")

    form = {"type": "object"}
    asks = [Ask.text(text, schema=form, max_tokens=8) for text in ("yes", "no", "no 2")]
    with Server(handler) as server:
        found = ask_many(server, [*asks, hello(schema=form)])
        assert [isinstance(one, PermanentFault) for one in found] == [False, True, True, False]
        assert all("response_format" in request.body for request in server.received)
        assert len(server.received) == 4


def test_a_chat_s_length_is_called_as_the_server_wants_it() -> None:
    def handler(request: Received) -> Answer:
        return unknown("max_tokens") if "max_tokens" in request.body else chat("fine")

    with Server(handler) as server:
        found = ask_many(server, [hello(), hello(), hello()])
        assert len(server.received) == 4
        assert server.received[-1].body["max_completion_tokens"] == 8
    assert [reply.text for reply in found] == ["fine"] * 3
    both, _ = ask(lambda r: unknown(next(n for n in r.body if n.startswith("max_"))), hello())
    assert isinstance(both, PermanentFault), "neither name is served"


def test_requests_in_flight_when_a_lack_comes_out_are_tried_again(tmp_path: Path) -> None:
    def handler(request: Received) -> Answer:
        if "max_tokens" in request.body:
            return Answer(unknown("max_tokens").body, 400, delay=0.05)
        return chat("fine")

    with Server(handler) as server:
        model = open_model({"model": "openai:tiny", "base_url": server.url})
        model.info = replace(model.info, retry_delay=0.001)
        with driver(tmp_path, model) as opened:
            outcomes = opened.run([one(f"q{n}", max_tokens=8) for n in range(40)])
    assert [outcome.value for outcome in outcomes] == ["fine"] * 40


def test_a_server_that_cannot_stream_is_asked_for_whole_replies() -> None:
    def handler(request: Received) -> Answer:
        if "stream" in request.body:
            return refusal(422, "Extra inputs are not permitted: stream_options")
        return chat("whole")

    with Server(handler) as server:
        found = ask_many(server, [hello(max_tokens=None)] * 3)
        assert ["stream" in r.body for r in server.received] == [True, False, True, False, False]
    assert [one.text for one in found] == ["whole"] * 3


def test_a_query_in_the_address_stays_behind_the_path() -> None:
    with Server(lambda r: chat("x")) as server:
        url = f"{server.url}/?api-version=2026-01"
        ask_many(server, [hello()], base_url=url)
        assert server.received[0].path == "/v1/chat/completions?api-version=2026-01"


def test_another_error_500_is_tried_again_alike() -> None:
    with Server(lambda r: refusal(500, "out of order: response_format")) as server:
        found = ask_many(server, [hello(schema={"type": "object"})] * 2)
        assert all("response_format" in request.body for request in server.received)
    assert [one.cause for one in found] == ["server", "server"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": formatdate(time.time() - 9, usegmt=True)}, 0.0),
        ({"retry-after": "30s"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 0000 23:59:59 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 +9999999999"}, None),
        ({"retry-after": "Mon, 99 Foo 2020 99:99:99 GMT"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}, 62.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "20ms"}, None),
    ],
)
def test_the_server_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    error, _ = ask(lambda r: refusal(429, "slow", headers=headers), hello())
    assert error.retry_after == seconds


def test_an_error_in_a_list_is_read() -> None:
    said = [{"error": {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT"}}]
    error, _ = ask(lambda r: as_json(said, 400), hello())
    assert isinstance(error, PermanentFault) and "Unknown name [400]" in str(error)


def test_a_used_up_allowance_holds_the_next_request() -> None:
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    good = chat("ok")
    with Server(lambda r: Answer(good.body, headers=spent if not r.times else {})) as server:
        began = time.monotonic()
        ask_many(server, [hello(), hello()])
        assert time.monotonic() - began >= 0.29


def test_hidden_reasoning_and_refusals_are_replies() -> None:
    cut, _ = ask(lambda r: chat(None, finish_reason="length"), hello())  # type: ignore[arg-type]
    assert (cut.text, cut.finish_reason) == ("", "length")
    message = {"content": None, "refusal": "I will not."}
    refused, _ = ask(lambda r: chat("", message=message), hello())
    assert (refused.text, refused.finish_reason) == ("I will not.", "refusal")


def test_rewards_are_not_served() -> None:
    request = Reward(messages=(Message("user", "x"),))
    with Server(lambda r: chat("x")) as server:
        error = ask_many(server, [request])[0]
        assert isinstance(error, PermanentFault) and not server.received


def test_a_key_goes_only_where_it_was_meant_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    reply, seen = ask(lambda r: chat("x"), hello())
    assert reply.text == "x"
    assert KEY not in str(seen.headers)
    # Neither server is guessed: that one's key must not go to OpenAI, nor its replies be shared.
    with pytest.raises(RecipeError, match="OPENAI_BASE_URL names another server") as refused:
        open_model("openai:gpt-4o-mini")
    assert "elsewhere" not in str(refused.value), "an address may hold credentials"
    home = "https://api.openai.com/v1"
    named: Any = open_model({"model": "openai:gpt-4o-mini", "base_url": home})
    assert (named.base_url, named._key) == (home, KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", home)
    assert open_model("openai:gpt-4o-mini").base_url == home  # type: ignore[attr-defined]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(RecipeError, match="OPENAI_API_KEY holds no key"):
        open_model("openai:gpt-4o-mini")


def test_a_planted_key_is_found_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    def handler(request: Received) -> Answer:
        told = request.headers["authorization"]
        long = f"{'very ' * 36}wrong: {told}"
        escaped = json.dumps({"text": told}).replace("-", "\\u002d").encode()
        return {
            "200": chat(f"you sent {told}"),
            "spelt": Answer(chat("MARK").body.replace(b'"MARK"', escaped[9:-1])),
            "400": refusal(400, f"wrong key: {told}"),
            "long": refusal(400, long),
            "html": Answer(f"<b>{told}</b>".encode(), 502, content_type="text/html"),
            "wrong": Answer(told.encode()),
        }[request.text]

    with Server(handler) as server:
        spec = {"model": "openai:tiny", "base_url": server.url, "api_key_env": "TINY_KEY"}
        model = open_model(spec)
        model.info = replace(model.info, retry_delay=0.001)
        with driver(tmp_path, model) as opened:
            texts = ("200", "spelt", "400", "long", "html", "wrong")
            outcomes = opened.run([one(text) for text in texts])
        assert all(KEY in r.headers["authorization"] for r in server.received)
    assert [o.value for o in outcomes[:2]] == ["you sent Bearer ***", "Bearer ***"]
    assert [o.error is None for o in outcomes] == [True, True, False, False, False, False]
    output = capfd.readouterr()
    told = [str(o) + repr(o.error) for o in outcomes]
    # Not even its beginning: a message is masked before it is shortened.
    assert KEY[:8] not in "".join([*told, caplog.text, output.out, output.err])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]


def test_prices_come_from_the_table_and_the_recipe_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert open_model("openai:gpt-4o-mini").info.price == Price(0.15, 0.6)
    own = {"model": "openai:gpt-4o-mini", "price": {"input": 1, "output": 2}}
    assert open_model(own).info.price == Price(1.0, 2.0)
    elsewhere = {"model": "openai:gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"}
    assert open_model(elsewhere).info.price is None, "another server has its own prices"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "openai:"}, "names no model"),
        ({"idle_timeout": 0}, "'idle_timeout' is 0"),
        ({"stream": "yes"}, "'stream' is 'yes'"),
        ({"length_field": "n"}, "'length_field' is 'n'"),
        ({"temprature": 0}, "unknown option 'temprature'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    spec = {"model": "openai:x", "base_url": "http://127.0.0.1:9/v1", **options}
    with pytest.raises(RecipeError, match=message):
        open_model(spec)
