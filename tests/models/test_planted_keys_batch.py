"""A key that a server of batch jobs, or a proxy, sends back is in no file and no output afterwards.

As in test_planted_keys.py, for what goes another way than a chat: files sent up, jobs and how they
stand, files of answers; the way to a server of HTTPS through a proxy; and the page of a review.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.ask import Ask, Reply
from curate.errors import ModelError, RecipeError
from curate.models.model import open_model
from curate.models.providers.openai_batch import Answer
from curate.row import Message
from tests.review.conftest import Served
from tests.system.planted import forms, found_in, search

from .batch_server import BatchServer, Line, chat, refusal, text_of
from .test_planted_keys import MANY

KEY, PASSWORD = "sk-Zq8/Yw+3nT7=vB2kLm9", "pX7-w0rd+of/proXy=2Q"
KEYS = {"the key": KEY, "the proxy's password": PASSWORD}
# One of the alignments of base64 is enough here; a test of the masks has all.
FORMS = [f for name, f in forms(KEY).items() if name[:6] != "base64" or name[-1] in "67s"]
LOGIN = "JUDGE_LOGIN"
# Of a key that was cut off, so much would be told.
SHORTEST_PIECE = 8
REQUEST = Ask(messages=(Message("user", "Well?"),), max_tokens=16)


def leaked(text: str) -> str | None:
    """Return which secret stands in `text`, whole in any form, or its beginning."""
    for name, secret in KEYS.items():
        if form := found_in(text, secret):
            return f"{name}, {form}"
        if secret[:SHORTEST_PIECE] in text:
            return f"the beginning of {name}"
    return None


def said(work: Callable[[], Awaitable[Any]]) -> str:
    """Return all that a call gives or raises, with what is chained to it: only known errors."""
    try:
        return repr(asyncio.run(work()))  # type: ignore[arg-type]
    except (ModelError, RecipeError) as error:
        return "".join(traceback.format_exception(error))


class Echo(BatchServer):
    """A server of jobs that puts `fields` over those of its files and jobs."""

    def __init__(self, reply: Callable[[Mapping[str, Any]], list[Line]]) -> None:
        super().__init__(reply, states=("in_progress", "completed"))
        self.of_file, self.of_job = dict[str, Any](), dict[str, Any]()
        self.lines_beside: list[str] = []

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        return {**super().upload(name, content), **self.of_file}

    def make(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().make(given), **self.of_job}

    def look(self, number: str) -> dict[str, Any]:
        return {**super().look(number), **self.of_job}

    def _finish(self, job: dict[str, Any]) -> None:
        super()._finish(job)
        beside = "".join(f"{line}\n" for line in self.lines_beside).encode()
        for kind in ("output", "error"):
            if file := job.get(f"{kind}_file_id"):
                self.contents[file] = beside + self.contents[file]


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo(lambda body: [chat("Fine.")]) as opened:
        yield opened


@pytest.fixture
def spec(server: Echo, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv(LOGIN, KEY)
    return {
        "model": "openai:tiny", "base_url": server.url, "api_key_env": LOGIN, "batch": True,
        "price": {"input": 1, "output": 1}, "max_tokens": 16, "idle_timeout": 5,
    }  # fmt: skip


def error_of(form: str, **fields: Any) -> dict[str, Any]:
    return {"status": "failed", "errors": {"object": "list", "data": [fields or form]}}


def job_fields(form: str) -> dict[str, dict[str, Any]]:
    """Return what a job may say of itself, by where the key stands in it."""
    return {
        "id": {"id": form},
        "status": {"status": form},
        "errors": error_of(form, code=form, message=form, line=form, param=form),
        "no reason": error_of(form, code=form, message=None, line=None),
        "cut error": error_of(form, code="x", message="x" * (300 - 12) + form, line=1),
        "error of no fields": error_of(form),
        "a text for errors": {"status": "failed", "errors": form},
        "a text for the list": {"status": "failed", "errors": {"data": form}},
        "error of another form": error_of(form, code=[form], message={form: form}, line=[form]),
        "counts": {"request_counts": {"total": form, "completed": form, "failed": form}},
        "a text for counts": {"request_counts": form},
        "metadata": {"metadata": {"curate_job": form, form: form}},
        "a text for metadata": {"metadata": form},
        "output file": {"status": "completed", "output_file_id": form},
        "error file": {"status": "completed", "error_file_id": form},
        "file of another form": {"status": "completed", "output_file_id": {form: form}},
        "everything else": {"endpoint": form, "created_at": form, "input_file_id": form, form: 1},
    }


@pytest.mark.parametrize("place", job_fields(""))
def test_a_job_that_holds_the_key_is_not_believed_or_is_masked(
    server: Echo, spec: dict[str, Any], place: str
) -> None:
    async def work() -> Any:
        model = open_model(spec)
        try:
            job = await model.batch.create("curate-1", file, "/v1/chat/completions")
            return job, job.done + 1, job.total + 1
        finally:
            await model.close()

    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"prompt": "a"}}
    file = server._stored("a.jsonl", json.dumps(line).encode() + b"\n")["id"]
    for form in FORMS:
        server.of_job = job_fields(form)[place]
        told = said(work)
        assert leaked(told) is None, (form, told)


@pytest.mark.parametrize("place", ["id", "filename", "status_details", "purpose"])
def test_a_file_that_is_called_by_the_key_is_not_noted(
    server: Echo, spec: dict[str, Any], place: str, tmp_path: Path
) -> None:
    async def work() -> Any:
        model = open_model(spec)
        try:
            return await model.batch.upload(path)
        finally:
            await model.close()

    (path := tmp_path / "a.jsonl").write_text("{}\n")
    for form in FORMS:
        server.of_file = {place: form}
        assert leaked(told := said(work)) is None, (form, told)


CALLS: dict[str, Callable[[Any, Path], Awaitable[Any]]] = {
    "POST /files": lambda batch, path: batch.upload(path),
    "GET /files": lambda batch, path: batch.find_file("a", time.time()),
    "POST /batches": lambda batch, path: batch.create("n", "file", "/v1/embeddings"),
    "GET /batches": lambda batch, path: batch.find("n", time.time()),
    "GET /batches/one": lambda batch, path: batch.retrieve("batch-1"),
    "GET /files/content": lambda batch, path: read(batch.answers("file-1")),
}


async def read(answers: Any) -> list[Any]:
    return [one async for one in answers]


@pytest.mark.parametrize("endpoint", CALLS)
def test_an_error_of_an_endpoint_does_not_repeat_the_key(
    server: Echo, spec: dict[str, Any], endpoint: str, tmp_path: Path
) -> None:
    async def work() -> Any:
        model = open_model(spec)
        try:
            return await CALLS[endpoint](model.batch, path)
        finally:
            await model.close()

    (path := tmp_path / "a.jsonl").write_text("{}\n")
    # A message is cut off after 200 letters: the key may lie across that place.
    for number, told in enumerate([*FORMS, *("x" * n + KEY for n in range(160, 196, 4))]):
        server.told = lambda login, told=told: told  # type: ignore[misc]
        status = (401, 400, 403, 404, 429, 500, 407, 422, 302)[number % 9]
        server.faults[endpoint] = [status]
        assert leaked(found := said(work)) is None, (status, told, found)
        assert not server.faults[endpoint] and "fault" not in found.split(":")[0]


def lines(form: str) -> Iterator[Line]:
    """Yield each part of a line of answers that may hold what the server was sent."""
    pieces = [form[at : at + 5] for at in range(0, len(form), 5)]

    def answered(status: int, body: Any) -> Line:
        return {"response": {"status_code": status, "body": body}, "error": None}

    def choice(**fields: Any) -> Line:
        return answered(200, {"choices": [{"message": {"content": "Fine."}, **fields}]})

    yield chat(f"You sent {form}, I think.")
    yield choice(finish_reason=form)
    yield choice(message={"content": "Fine.", "reasoning_content": form})
    yield choice(message={"content": [{"type": "text", "text": one} for one in pieces]})
    yield choice(message={"content": None, "refusal": form})
    yield choice(message={"content": {form: form}})
    for number in (-0.5, form):
        likely = [{"token": form, "logprob": number}]
        yield choice(
            logprobs={
                "content": [
                    {"token": one, "logprob": number, "top_logprobs": likely} for one in pieces
                ]
            }
        )
    yield choice(logprobs={"content": [{"token": "a", "logprob": [form], "top_logprobs": []}]})
    yield choice(
        logprobs={
            "content": [
                {
                    "token": "a", "logprob": -1.0,
                    "top_logprobs": [{"token": "b", "logprob": form}],
                }
            ]
        }
    )  # fmt: skip
    yield choice(logprobs={"tokens": ["a"], "token_logprobs": [form], "top_logprobs": [{form: 0}]})
    yield choice(logprobs={"tokens": ["a"], "token_logprobs": [0], "top_logprobs": [{"a": form}]})
    yield answered(200, {"choices": form, form: form})
    yield answered(200, {"error": {"message": form, "code": form}})
    yield answered(200, form)
    yield {"response": {"status_code": form, "body": form}, "error": {"code": form}}
    yield {"response": form, "error": form}
    for text in (form, *("x" * n + form for n in range(120, 200, 7))):
        yield answered(200, {"error": {"message": text, "code": 400}})
        yield answered(200, {"error": {"message": text, "code": "no number"}})
        yield {"response": None, "error": {"code": form, "message": text}}
        for status in (400, 401, 404, 429, 500):
            yield refusal(status, text)
        yield answered(422, {"error": {"message": pieces, "code": text, "type": form}})
        yield answered(422, {"detail": [{"loc": ["body", form], "msg": text, "type": form}]})
        yield answered(400, {text: {form: form}})
        yield answered(500, text)


def test_a_line_of_answers_brings_no_key_back(spec: dict[str, Any], server: Echo) -> None:
    batch = open_model(spec).batch
    outcomes = Counter[str]()
    for form in FORMS:
        for line in lines(form):
            answer = batch._answer(json.dumps({"custom_id": "a", **line}).encode())
            assert isinstance(answer, Answer)
            found = batch.reply(REQUEST, answer)
            assert isinstance(found, Reply | ModelError)
            told = repr(found) if isinstance(found, Reply) else "".join(
                traceback.format_exception(found)
            )  # fmt: skip
            # What is left of a key in another form has no beginning that could be known.
            assert leaked(told) is None, (line, told)
            if form != KEY:
                assert form[: SHORTEST_PIECE * 2] not in told, (line, told)
            outcomes[type(found).__name__] += 1
    assert min(outcomes.values()) > 50 and len(outcomes) == 3
