"""A key that a server of batch jobs, or a proxy, sends back is in no file and no output afterwards.

As in test_planted_keys.py, for what goes another way than a chat: files sent up, jobs and how they
stand, files of answers; the way to a server of HTTPS through a proxy; and the page of a review.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from curate.ask import Ask, Choose, Reply
from curate.errors import ModelError, RecipeError
from curate.models.model import open_model
from curate.models.providers.openai_batch import Answer
from curate.row import Message
from tests.system.planted import forms, found_in, search

from .batch_server import BatchServer, Line, chat, refusal, text_of
from .chaos import Answer as HTTPAnswer
from .chaos import Received, Server, as_json, events
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


async def said(work: Awaitable[Any]) -> str:
    """Return all that a call gives or raises, with what is chained to it: only known errors."""
    try:
        return repr(await work)
    except (ModelError, RecipeError) as error:
        return "".join(traceback.format_exception(error))


def on_batches(spec: dict[str, Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """Give `work` the jobs of a model."""

    async def opened() -> None:
        model = open_model(spec)
        try:
            await work(model.batch)  # type: ignore[attr-defined]
        finally:
            await model.close()

    asyncio.run(opened())


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
    async def work(batch: Any) -> None:
        for form in FORMS:
            server.of_job = job_fields(form)[place]
            told = await said(made(batch))
            assert leaked(told) is None, (form, told)

    async def made(batch: Any) -> Any:
        job = await batch.create("curate-1", file, "/v1/chat/completions")
        return job, job.done + 1, job.total + 1

    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"prompt": "a"}}
    file = server._stored("a.jsonl", json.dumps(line).encode() + b"\n")["id"]
    on_batches(spec, work)


@pytest.mark.parametrize("place", ["id", "filename", "status_details", "purpose"])
def test_a_file_that_is_called_by_the_key_is_not_noted(
    server: Echo, spec: dict[str, Any], place: str, tmp_path: Path
) -> None:
    async def work(batch: Any) -> None:
        for form in FORMS:
            server.of_file = {place: form}
            assert leaked(told := await said(batch.upload(path))) is None, (form, told)

    (path := tmp_path / "a.jsonl").write_text("{}\n")
    on_batches(spec, work)


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
    async def work(batch: Any) -> None:
        # A message is cut off after 200 letters: the key may lie across that place.
        for number, told in enumerate([*FORMS, *("x" * n + KEY for n in range(160, 196, 4))]):
            server.told = lambda login, told=told: told  # type: ignore[misc]
            status = (401, 400, 403, 404, 429, 500, 407, 422, 302)[number % 9]
            server.faults[endpoint] = [status]
            found = await said(CALLS[endpoint](batch, path))
            assert leaked(found) is None, (status, told, found)
            assert not server.faults[endpoint]
            assert str(status) in found or "Missing" in found, found

    (path := tmp_path / "a.jsonl").write_text("{}\n")
    on_batches(spec, work)


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


def test_a_text_that_is_no_number_is_masked_before_it_is_shortened(
    spec: dict[str, Any], server: Echo
) -> None:
    """Python's own message quotes what it could not read."""
    batch = open_model(spec).batch
    choose = Choose(options=("A", "B"), messages=(Message("user", "Well?"),))
    for length in range(120, 200, 5):
        first = {"token": "A", "logprob": "x" * length + KEY}
        choice = {"logprobs": {"content": [{"top_logprobs": [first]}]}}
        found = batch.reply(choose, Answer("a", 200, {"choices": [choice]}))
        assert isinstance(found, ModelError) and "could not convert" in str(found)
        assert leaked(str(found)) is None, found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_chat_is_masked_before_it_is_shortened(
    monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The bodies of the lines above as answers to chats, whole and as events."""
    bodies = [line["response"] for line in lines(KEY) if isinstance(line["response"], dict)]
    bodies = [one for one in bodies if isinstance(one["status_code"], int)]

    def handler(request: Received) -> HTTPAnswer:
        given = bodies[int(request.text)]
        if stream and given["status_code"] == 200 and isinstance(given["body"], dict):
            changed = given["body"].get("choices", ())
            parts = [{**c, "delta": c.get("message")} for c in changed if isinstance(c, dict)]
            return events([{**given["body"], "choices": parts}])
        return as_json(given["body"], given["status_code"])

    async def work() -> None:
        model = open_model(spec)
        for number in range(len(bodies)):
            asked = Ask(messages=(Message("user", str(number)),), max_tokens=16)
            told = await said(model.answer(asked, key=str(number), attempt=1))
            assert leaked(told) is None, (bodies[number], told)
        await model.close()

    monkeypatch.setenv(LOGIN, KEY)
    with Server(handler) as chats:
        spec = {"model": "openai:tiny", "base_url": chats.url, "api_key_env": LOGIN}
        spec |= {"stream": stream, "idle_timeout": 5, "price": {"input": 1, "output": 1}}
        asyncio.run(work())
        assert len(chats.received) == len(bodies)


# -- commands -------------------------------------------------------------------------------------

# Waits as short as possible for everything.
QUICK = """
from curate.requests import concurrency, sender
from curate.requests.batch import poll, queue, submit
queue.GATHER_SECONDS, poll.FIRST_POLL_SECONDS, poll.LONGEST_POLL_SECONDS = 0.02, 0.01, 0.02
poll.REFUSED_SECONDS = 0.01
for name in ("LISTED_SECONDS", "LOOK_SECONDS", "FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
    setattr(submit, name, 0.02)
sender.MAX_PAUSE_SECONDS = 0.05
concurrency.BREAK_SECONDS = concurrency.FIRST_PAUSE_SECONDS = 0.05
concurrency.LONGEST_PAUSE_SECONDS = 0.05
"""


class Place:
    """A folder in which commands run with the keys in their environment."""

    def __init__(self, place: Path, **environment: str) -> None:
        self.place = place
        (place / "temporary").mkdir()
        clean = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        own = {LOGIN: KEY, "HOME": str(place), "TMPDIR": str(place / "temporary"), **environment}
        self.environment = {**clean, **own}

    def recipe(self, name: str, rows: int, **model: Any) -> tuple[str, ...]:
        """Write a recipe of so many questions; return the words that run it."""
        questions = [{"prompt": f"This is question {number}?"} for number in range(rows)]
        lines = "".join(json.dumps(row) + "\n" for row in questions)
        (self.place / f"{name}.jsonl").write_text(lines)
        judge = {
            "model": "openai:tiny", "api_key_env": LOGIN, "idle_timeout": 5, "max_tokens": 16,
            "price": {"input": 1, "output": 1}, **model,
        }  # fmt: skip
        recipe = {
            "inputs": f"{name}.jsonl",
            "models": {"judge": judge},
            "steps": [{"respond": {"model": "judge"}}],
        }
        (self.place / f"{name}.yaml").write_text(json.dumps(recipe))
        return ("run", f"{name}.yaml", "--run", name, "--store", f"{name}-store", "--debug")

    def start(self, *commands: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", QUICK + MANY, json.dumps(commands)],
            cwd=self.place, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
        """Run commands one after another; return how each ended, and what it printed: no key."""
        out, err = self.start(*commands).communicate(timeout=240)
        ends = [json.loads(code) for code in out.split("\0")[1::2]]
        assert len(ends) == len(commands), (out, err)
        printed = [f"{o}\n{e}" for o, e in zip(out.split("\0")[::2], err.split("\0"), strict=True)]
        for words, text in zip(commands, printed, strict=False):
            assert leaked(text) is None, (words, text)
            assert "unexpected" not in text, (words, text)
        self.check_files()
        return list(zip(ends, printed, strict=False))

    def check_files(self) -> None:
        assert search(self.place, KEYS) == []


def looks(place: Place, name: str) -> list[tuple[str, ...]]:
    """Return the commands that look at a run."""
    store = ("--store", f"{name}-store")
    rows = [
        row.hex()
        for path in sorted((place.place / name).rglob("*.parquet"))
        if path.parent.name in ("failed", "sft")
        for row in pq.read_table(path, columns=["id"])["id"].to_pylist()[:3]
    ]
    return [
        ("report", name),
        ("report", name, "--json"),
        ("report", name, "--html", f"{name}.html"),
        ("store", "export", *store, "-o", f"{name}-replies.jsonl"),
        ("store", "stats", *store),
        ("export", name, "--as", "messages", "-o", f"{name}-messages.jsonl"),
        *(("explain", name, row) for row in rows),
        *(("explain", name, row, "--json") for row in rows),
    ]


LINES = [line for form in FORMS for line in lines(form)]
BESIDE = [
    text
    for form in FORMS
    for text in (f"no JSON: {form}", json.dumps({"custom_id": form, "response": form, form: form}))
]


def echoing() -> Callable[[Mapping[str, Any]], list[Line]]:
    """Return what answers each question with the line of its number, and well after that."""
    seen = Counter[str]()

    def reply(body: Mapping[str, Any]) -> list[Line]:
        text = text_of(body)
        seen[text] += 1
        number = int("".join(c for c in text if c.isdigit()))
        return [LINES[number] if seen[text] == 1 else chat("A good answer, at last.")]

    return reply


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_job_answers_is_in_no_file_of_its_runs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with Echo(echoing()) as server:
        server.lines_beside = BESIDE
        words = place.recipe("lines", len(LINES), base_url=server.url, batch=True)
        # Killed while its job is at the provider, and interrupted once more.
        for number in (signal.SIGKILL, signal.SIGINT):
            reached, server.states = threading.Event(), ("in_progress",)
            server.on = lambda name, reached=reached: (  # type: ignore[misc]
                reached.set() if name == "done GET /batches/one" else None
            )
            process = place.start(words)
            assert reached.wait(60)
            process.send_signal(number)
            assert leaked("".join(process.communicate(timeout=60))) is None
            place.check_files()
        server.states = ("completed",)
        (code, _), (_, report) = place.run(words, ("report", "lines", "--json"))
        assert server.keys == {f"Bearer {KEY}"}
    counts = json.loads(report[: report.rindex("}") + 1])
    assert code in (0, 1) and counts["kept"] > 100 and counts["failed"] > 100
    assert counts["kept"] + counts["failed"] == len(LINES)
    assert {code for code, _ in place.run(*looks(place, "lines"))} == {0}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_job_says_of_itself_is_in_no_file_of_its_runs(tmp_path: Path) -> None:
    """Each place of a job, its file, and each status of each endpoint, in one form of the key."""
    place, servers = Place(tmp_path), list[Echo]()
    commands = list[tuple[str, ...]]()
    for number, (what, fields) in enumerate(job_fields(KEY).items()):
        servers.append(server := Echo(lambda body: [chat("Fine.")]))
        server.__enter__()
        if what == "status":  # One that has not ended is asked for again.
            continue
        server.of_job = job_fields(FORMS[number % len(FORMS)])[what] if number % 2 else fields
        commands.append(place.recipe(f"job{number}", 3, base_url=server.url, batch=True))
    for number, endpoint in enumerate(CALLS):
        for status in (401, 403, 404, 429, 500):
            servers.append(server := Echo(lambda body: [chat("Fine.")]))
            server.__enter__()
            server.faults[endpoint] = [status] * 2
            server.told = lambda login, n=number: f"{login} {FORMS[n]}"  # type: ignore[misc]
            name = f"fault{number}-{status}"
            commands.append(place.recipe(name, 3, base_url=server.url, batch=True))
    try:
        ends = place.run(*commands)
        # 2: a server that knows of no files has no jobs.
        assert {code for code, _ in ends} <= {0, 1, 2, 4}
        assert sum("***" in text for _, text in ends) > 10
    finally:
        for server in servers:
            server.__exit__()


# -- the page of a review -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_of_a_review_shows_no_key(tmp_path: Path) -> None:
    """Rows whose answers and errors hold masks are looked at as the page does, and labelled."""

    def reply(body: Mapping[str, Any]) -> list[Line]:
        number = int("".join(c for c in text_of(body) if c.isdigit()))
        form = FORMS[number // 2]
        return [refusal(400, form) if number % 2 else chat(f"You sent {form}, I think.")]

    place, rows = Place(tmp_path), 2 * len(FORMS)
    with Echo(reply) as server:
        place.run(place.recipe("run", rows, base_url=server.url, batch=True))
    words = ("review", "run", "--outcome", "all", "--port", "0", "--labels", "labels.sqlite")
    # What it says to stderr lies among the files that are searched.
    with (place.place / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "curate", *words, "--debug"],
            cwd=place.place, env=place.environment, text=True, stdout=subprocess.PIPE, stderr=said,
        )  # fmt: skip
        try:
            assert process.stdout
            address = re.compile(r"(http://\S+)/open\?\S+")
            at = next(f for line in process.stdout if (f := address.search(line)))
            masks = looked_at(at[1], at[0], rows)
        finally:
            process.kill()
            leftover, _ = process.communicate()
    assert masks >= len(FORMS) and leaked(leftover) is None
    place.run(("review", "run", "--labels", "labels.sqlite", "--export", "labels.jsonl"))


def looked_at(at: str, address: str, rows: int) -> int:
    """Ask for everything that the page asks for; return in how many answers a mask stood."""
    jar, texts = urllib.request.HTTPCookieProcessor(CookieJar()), list[str]()
    opener = urllib.request.build_opener(jar, urllib.request.ProxyHandler({}))

    def asked(path: str, body: Any = None) -> str:
        headers = {"Content-Type": "application/json", "X-Curate-Token": token, "Origin": at}
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = opener.open(urllib.request.Request(at + path, data, headers))
        except urllib.error.HTTPError as error:
            answer = error
        texts.append(f"{answer.headers}\n{answer.read().decode()}")
        assert leaked(texts[-1]) is None, (path, texts[-1])
        return texts[-1].partition("\n\n")[2].strip()

    token = ""
    page = opener.open(address).read().decode()
    token = re.findall(r'name="token" content="([^"]+)"', page)[0]
    for path in ("/", "/review.js", "/next", "/next?who=", "/nowhere", "/export"):
        asked(path)
    state = json.loads(asked("/next?who=ann"))
    # A row that was made is there beside the one that it was made from.
    assert state["rows"] >= rows
    for number in range(state["rows"]):
        label = {"who": "ann", "item": state["item"]["id"], "decision": "keep"}
        state = json.loads(asked("/label", {**label, "nonce": f"number {number}"}))
    assert state["item"] is None
    asked("/label", {"who": "ann", "item": "none", "nonce": "another one"})
    asked("/undo", {"who": "ann", "item": state["undo"], "nonce": "the last one"})
    asked("/export")
    return sum("***" in text for text in texts)


# -- the way through a proxy ----------------------------------------------------------------------


def tunnels() -> Iterator[bytes]:
    """Yield what a proxy answers to CONNECT, with its own login in each part."""
    login = b64encode(f"ann:{PASSWORD}".encode()).decode()
    told = [f for name, f in forms(PASSWORD).items() if "\n" not in f and name[:4] != "base"]
    for text in [*told, f"Basic {login}", f"ann:{PASSWORD}", "x" * 190 + PASSWORD]:
        for status in (407, 403, 401, 404, 429, 500, 502, 302, 200, 199):
            head = (
                f'HTTP/1.1 {status} {text}\r\nProxy-Authenticate: Basic realm="{text}"\r\n'
                f"Location: http://{text}/\r\nX-Echo: {text}\r\n"
            )
            yield f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()
        yield f"HTTP/1.1 {text} {text}\r\n\r\n".encode()
        yield f"{text}\r\n\r\n".encode()
        yield f"HTTP/1.1 403 no\r\n{text}\0: {text}\r\n\r\n".encode()
        yield f"HTTP/1.1 200 OK\r\n\r\n{text}".encode()
        # A tunnel that leads to no TLS.
        yield f"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 {text}\r\n\r\n{text}".encode()


class Proxy:
    """A proxy on loopback that gives one answer, `answer`, and hangs up; `heads` came to it."""

    def __init__(self) -> None:
        self.answer, self.heads = b"", list[bytes]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://ann:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"

    def _serve(self) -> None:
        with suppress(OSError):  # It was closed.
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    head = b""
                    while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                        head += more
                    self.heads.append(head)
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def check(self) -> None:
        """It was sent its own login and not the server's."""
        login = b64encode(f"ann:{PASSWORD}".encode())
        assert self.heads
        for head in self.heads:
            assert head.startswith(b"CONNECT model.example:443 ") and login in head
            assert leaked(head.replace(login, b"").decode("latin-1")) is None


@pytest.mark.parametrize("jobs", [False, True], ids=["chats", "jobs"])
def test_a_proxy_that_opens_no_way_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, jobs: bool
) -> None:
    async def work(batch: Any) -> None:
        for proxy.answer in tunnels():
            model = open_model(spec)
            asked = batch.retrieve("batch-1") if jobs else model.answer(REQUEST, key="k", attempt=1)
            told = await said(asked)
            await model.close()
            assert leaked(told) is None, (proxy.answer, told)
            assert "Fault" in told, told

    for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    spec = {
        "model": "openai:tiny", "base_url": "https://model.example/v1", "api_key_env": LOGIN,
        "idle_timeout": 5, "batch": True, "price": {"input": 1, "output": 1},
    }  # fmt: skip
    monkeypatch.setenv(LOGIN, KEY)
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        on_batches(spec, work)
        proxy.check()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_proxy_answers_is_in_no_file(tmp_path: Path) -> None:
    with Proxy() as proxy:
        place = Place(tmp_path, HTTPS_PROXY=proxy.url)
        text = f"what is Basic {b64encode(f'ann:{PASSWORD}'.encode()).decode()}, {PASSWORD}?"
        for number, status in enumerate((407, 403, 502)):
            proxy.answer = (
                f"HTTP/1.1 {status} {text}\r\nX-Echo: {text}\r\n"
                f"Content-Length: {len(text)}\r\n\r\n{text}"
            ).encode()
            where = {"base_url": "https://model.example/v1", "max_concurrency": 2}
            ends = place.run(
                place.recipe(f"chats{number}", 2, **where),
                place.recipe(f"jobs{number}", 2, **where, batch=True),
            )
            assert all(code in (1, 4) and "proxy" in said for code, said in ends), ends
        proxy.check()
