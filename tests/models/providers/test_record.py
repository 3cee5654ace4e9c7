"""A recording: what is written down, who continues it, and that a replay of it is the same run."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, Reply, Request
from curate.errors import PermanentFault, RecipeError, TemporaryFault
from curate.models.model import open_model
from tests.engine.conftest import fingerprint, run
from tests.engine.contract_steps import (
    Judge,
    TwoReplies,
    judge_script,
    numbered,
    write_script,
    writer_script,
)
from tests.models.chaos import Answer, Received, Server, chat, refusal

SECRET = "sk-planted-0123456789"


def inner(folder: Path, *lines: dict[str, Any]) -> dict[str, Any]:
    (folder / "inner.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return {"model": "scripted:inner.jsonl", "log": "asked.log", "temperature": 0.5}


def answer(model: Any, request: Request, key: str = "k", attempt: int = 0) -> Reply:
    async def once() -> Reply:
        return await model.answer(request, key=key, attempt=attempt)  # type: ignore[no-any-return]

    return asyncio.run(once())


def record(folder: Path, of: Any) -> Any:
    return open_model({"model": "record:replies.jsonl", "of": of}, folder=folder)


def asked(folder: Path) -> int:
    return len((folder / "asked.log").read_text().splitlines())


def test_a_recording_gives_every_form_of_reply_again(tmp_path: Path) -> None:
    of = inner(
        tmp_path,
        {
            "when": {"contains": "Hi"},
            "reply": "Hello \ud83d\n",
            "logprobs": [{"token": "a", "logprob": -0.1, "top": {}}],
            "usage": {"input_tokens": 3, "output_tokens": 2},
            "finish_reason": "length",
        },
        {"when": {"contains": "vector"}, "values": [[0.1, 1 / 3]], "cut": [0]},
        {"when": {"contains": "bad"}, "fault": "permanent", "times": None},
    )
    first = record(tmp_path, of)
    hello, vector = answer(first, Ask.text("Hi")), answer(first, Embed(texts=("vector",)), "v")
    with pytest.raises(PermanentFault) as refused:
        answer(first, Ask.text("bad"), "b")
    asyncio.run(first.close())
    again = open_model("scripted:replies.jsonl", folder=tmp_path)
    assert (again.info.identity, dict(again.info.defaults)) == (
        first.info.identity,
        {"temperature": 0.5},
    )
    assert answer(again, Ask.text("Hi")) == hello
    assert answer(again, Embed(texts=("vector",)), "v") == vector
    assert vector.cut == (0,)
    with pytest.raises(PermanentFault) as repeated:
        answer(again, Ask.text("bad"), "b")
    assert str(repeated.value) == str(refused.value)


def test_a_recording_that_was_killed_continues(tmp_path: Path) -> None:
    of = inner(tmp_path, {"when": {}, "reply": "yes"})
    first = record(tmp_path, of)
    answer(first, Ask.text("a"), "a")
    asyncio.run(first.close())
    path = tmp_path / "replies.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"when":{"key":"b"},"att')
    second = record(tmp_path, of)
    answer(second, Ask.text("a"), "a")
    assert (asked(tmp_path), path.read_bytes()) == (1, whole)
    answer(second, Ask.text("b"), "b")
    asyncio.run(second.close())
    assert asked(tmp_path) == 2
    assert answer(open_model("scripted:replies.jsonl", folder=tmp_path), Ask.text("b"), "b").text


def test_what_a_wrong_key_was_told_is_not_recorded(tmp_path: Path) -> None:
    def handler(request: Received) -> Answer:
        return chat("yes") if request.times else refusal(401, "wrong key")

    async def once(model: Any) -> Reply:
        try:
            request = Ask.text("a", max_tokens=8)
            return await model.answer(request, key="k", attempt=0)  # type: ignore[no-any-return]
        finally:
            await model.close()

    with Server(handler) as server:
        of = {"model": "openai:tiny", "base_url": server.url}
        with pytest.raises(PermanentFault, match="wrong key"):
            asyncio.run(once(record(tmp_path, of)))
        assert asyncio.run(once(record(tmp_path, of))).text == "yes"


def test_a_fault_is_recorded_where_no_reply_follows_and_is_asked_again(tmp_path: Path) -> None:
    of = inner(tmp_path, {"when": {}, "fault": "server", "times": 1, "reply": "late"})
    model = record(tmp_path, of)
    for key in ("cleared", "stays"):
        with pytest.raises(TemporaryFault) as fault:
            answer(model, Ask.text("a"), key)
    assert answer(model, Ask.text("a"), "cleared").text == "late"
    asyncio.run(model.close())
    shared = open_model("scripted:replies.jsonl", folder=tmp_path)
    assert answer(shared, Ask.text("a"), "cleared").text == "late"
    with pytest.raises(TemporaryFault) as again:
        answer(shared, Ask.text("a"), "stays")
    assert str(again.value) == str(fault.value)
    asyncio.run(record(tmp_path, of).close())
    assert len((tmp_path / "replies.jsonl").read_bytes().splitlines()) == 2


def test_another_models_file_is_left_alone(tmp_path: Path) -> None:
    of = inner(tmp_path, {"when": {}, "reply": "yes"})
    asyncio.run(record(tmp_path, of).close())
    before = (tmp_path / "replies.jsonl").read_bytes()
    with pytest.raises(RecipeError, match="not a recording of this model with this sampling"):
        record(tmp_path, {**of, "temperature": 0.9})
    assert (tmp_path / "replies.jsonl").read_bytes() == before


@pytest.mark.parametrize("spec", ["record:", "record:replies.jsonl"])
def test_what_is_missing_is_said(spec: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="of: PREFIX:NAME"):
        open_model(spec, folder=tmp_path)


def test_a_wrong_inner_model_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a key must not stand in a recipe") as error:
        record(tmp_path, {"model": "openai:x", "api_key": SECRET})
    assert SECRET not in str(error.value)
    assert not (tmp_path / "replies.jsonl").exists()


class Echo(BaseHTTPRequestHandler):
    """A server that quotes the key it was sent in its reply."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": f"you sent {self.headers['Authorization']}"}
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def test_no_key_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_KEY", SECRET)
    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    model = record(tmp_path, {"model": "openai:m", "base_url": url, "api_key_env": "SHARED_KEY"})

    async def ask_and_close() -> Reply:
        reply = await model.answer(Ask.text("Hi"), key="k", attempt=0)
        await model.close()
        return reply  # type: ignore[no-any-return]

    try:
        assert "you sent Bearer ***" in asyncio.run(ask_and_close()).text
    finally:
        server.shutdown()
        server.server_close()
    recorded = (tmp_path / "replies.jsonl").read_text()
    assert "you sent" in recorded
    assert SECRET not in recorded


def test_a_replayed_run_is_the_recorded_run(tmp_path: Path) -> None:
    """The law of sharing: record, then scripted, gives the same bytes and asks nobody else."""
    rows, steps = numbered(60), [Judge(at_least=2.0), TwoReplies()]
    models = {
        "judge": {"model": f"scripted:{write_script(tmp_path / 'j', judge_script(60))}"},
        "writer": {"model": f"scripted:{write_script(tmp_path / 'w', writer_script(60))}"},
    }
    recorded = {
        name: {"model": f"record:{tmp_path}/{name}.jsonl", "of": {**spec, "shuffle": 7}}
        for name, spec in models.items()
    }
    first = run(steps, rows, tmp_path / "a" / "first", models=recorded)
    shared = {name: f"scripted:{tmp_path}/{name}.jsonl" for name in models}
    again = run(steps, rows, tmp_path / "b" / "again", models=shared)
    assert fingerprint(again.folder) == fingerprint(first.folder)
    assert len(fingerprint(first.folder)) > 4
