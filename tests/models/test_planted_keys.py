"""Keys planted wherever one can stand are in no file, no output and no traceback afterwards.

A server on loopback, which is also the proxy through which it is asked, sends back what it was sent
for a login, in every form and in every part of an answer. Everything below one folder (runs, store,
caches, temporary files) and everything that was printed is searched.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publish.hub_server import TOKEN, hub_server
from tests.system.planted import forms, found_in, search

from .chaos import Answer, Received, as_json, chat, events, refusal
from .hostile import Attack, HostileServer, raw

KEYS = {
    "the key of api_key_env": "sk-Zq8/Yw+3nT7=vB2kLm9",
    "OPENAI_API_KEY": "sk-proj-9QwErTy7UiOp5AsDfGh3JkLz1",
    "the proxy's password": "pX7-w0rd+of/proXy=2Q",
    "the key in an address's query": "qK4nR8tW2yB6mD0sF5hJ",
    "the key in an address's path": "pT3vX9zC1bN7mQ5wE2rYk8Lf",
    "the key as a model's name": "gsk_aB3dE5gH7jK9mN1pQ3sT5vX7zB9dF1hJ",
    "the key in a recipe": "xai-1A2b3C4d5E6f7G8h9I0jKlMnOpQr",
    "the key in another variable": "zY8xW6vU4tS2rQ0pO9nM",
    "HF_TOKEN": TOKEN,
}
KEY, PASSWORD = KEYS["the key of api_key_env"], KEYS["the proxy's password"]
QUERY, PATH = KEYS["the key in an address's query"], KEYS["the key in an address's path"]
NAME, PASTED = KEYS["the key as a model's name"], KEYS["the key in a recipe"]
OTHER = KEYS["the key in another variable"]
# One of the alignments of base64 is enough here; a test of the masks has all.
FORMS = [
    form
    for secret in (KEY, PASSWORD)
    for name, form in forms(secret).items()
    if name not in ("base64 1", "base64 2", "base64 3", "base64 4", "base64 5")
]
LOGIN, URL = "JUDGE_LOGIN", "http://model.example/v1"


def parts_of(form: str) -> list[str]:
    return [form[start : start + 5] for start in range(0, len(form), 5)]


def echoes() -> Iterator[Answer | Attack]:
    """Every part of an answer that may hold what the server was sent, in every form."""
    for form in FORMS:
        quoted = json.dumps(form)[1:-1]
        yield chat(f"You sent {form}, I think.")
        yield chat("Fine.", message={"content": "Fine.", "reasoning_content": f"It is {form}."})
        yield chat("", message={"content": [{"type": "text", "text": p} for p in parts_of(form)]})
        yield chat("Fine.", finish_reason=form)
        tokens = [
            {"token": piece, "logprob": -0.5, "top_logprobs": [{"token": form, "logprob": -1.0}]}
            for piece in parts_of(form)
        ]
        yield chat(form, logprobs={"content": tokens})
        yield events(
            [
                {"choices": [{"delta": {"content": piece}, "logprobs": {"content": [token]}}]}
                for piece, token in zip(parts_of(form), tokens, strict=True)
            ]
            + [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        )
        yield events([{"error": {"message": f"no {form}", "code": 400}}])
        yield events([{"error": {"message": form, "code": form}}])
        yield refusal(400, f"what is {form}?")
        yield as_json({"error": {"message": "no", "code": form, "type": form, "param": form}}, 422)
        yield as_json({"detail": [{"loc": ["body", form], "msg": form, "type": form}]}, 422)
        yield as_json({form: {form: form}}, 400)
        yield refusal(500, f"broken: {form}")
        yield refusal(429, form, headers={"retry-after": "0.01"})
        yield refusal(404, form)
        yield refusal(403, form)
        yield Answer(f"<html>{form}</html>".encode(), 502, content_type="text/html")
        yield Answer(f"no JSON but {form}".encode())
        yield as_json({"choices": [{"message": {"content": {form: form}}}]})
        yield as_json({"choices": form})
        yield as_json({"choices": [], form: form})
        yield as_json([form])
        yield chat("Fine.", usage=form)
        if "\n" not in form:
            host = form.replace("/", "-").replace("\\", "-")
            yield Answer(b"", 307, headers={"location": f"https://{host}.example/v1"})
            yield Answer(b"", 302, headers={"location": f"/{form}"})
            headers = {"x-echo": form, "retry-after": form, "set-cookie": f"{form}; {form}[=1"}
            yield refusal(503, "busy", headers={**headers, "x-ratelimit-reset-requests": form})
            yield Answer(chat("Fine.").body, content_type=f"application/json; charset={form}")
            yield Answer(chat("Fine.").body, headers={"content-encoding": form})
            yield [raw(b"{}", f"400 {form}")]
            yield [f"HTTP/1.1 {form} {form}\r\n\r\n".encode()]
            yield [f"HTTP/1.1 200 OK\r\n{form}\0: {form}\r\n\r\n".encode()]
        yield [raw(f'{{"choices": "{quoted}'.encode())]


ECHOES = list(echoes())


def handler(request: Received) -> Answer | Attack:
    """Answer a row's question with the echo of its number, and each try after the first well."""
    login = request.headers.get("proxy-authorization", "").removeprefix("Basic ")
    assert b64decode(login).decode() == f"ann:{PASSWORD}"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    number = "".join(c for c in request.text.split("question")[-1] if c.isdigit())
    if request.times or not number:
        return chat("A good answer, at last.")
    return ECHOES[int(number) % len(ECHOES)]


# Runs commands in this one process, and says after each, between two zeros, how it ended.
MANY = """
import json, sys
from curate.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["curate", *words]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    sys.stderr.write("\\0")
    sys.stderr.flush()
    sys.stdout.write("\\0" + json.dumps(code) + "\\0")
    sys.stdout.flush()
"""


class Planted:
    """A folder in which commands run, with every key planted in their environment."""

    def __init__(self, place: Path, port: int, hub: str) -> None:
        self.place = place
        password = PASSWORD.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")
        for name in ("cache", "temporary", "home"):
            (place / name).mkdir()
        self.environment = {
            **{n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")},
            LOGIN: KEY,
            "OPENAI_API_KEY": KEYS["OPENAI_API_KEY"],
            "OTHER_SECRET": OTHER,
            "HF_TOKEN": TOKEN,
            "HF_ENDPOINT": hub,
            "HF_HUB_DISABLE_XET": "1",
            "http_proxy": f"http://ann:{password}@127.0.0.1:{port}",
            "NO_PROXY": "127.0.0.1",
            "HOME": str(place / "home"),
            "HF_HOME": str(place / "cache" / "hf"),
            "XDG_CACHE_HOME": str(place / "cache"),
            "TMPDIR": str(place / "temporary"),
        }
        rows = [{"prompt": f"This is question {number}?"} for number in range(len(ECHOES))]
        (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.recipe("recipe.yaml")

    def recipe(self, name: str, **model: Any) -> str:
        """Write a recipe whose model is told otherwise in some fields."""
        judge = {
            "model": "openai:tiny", "base_url": URL, "api_key_env": LOGIN,
            "idle_timeout": 5, "max_concurrency": 16, "max_tokens": 64, **model,
        }  # fmt: skip
        recipe = {
            "inputs": "rows.jsonl",
            "models": {"judge": judge},
            "steps": [{"respond": {"model": "judge"}}],
        }
        (self.place / name).write_text(json.dumps(recipe))
        return name

    def start(self, *words: str, **own: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.place,
            env={**self.environment, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *commands: tuple[tuple[int, ...], tuple[str, ...]], **own: str) -> list[str]:
        """Run commands one after another, in one process: each may end with one of its codes.

        Returns what they printed; no key is there.
        """
        words = [words for _, words in commands]
        process = self.start("-c", MANY, json.dumps(words), **own)
        out, err = process.communicate(timeout=300)
        ends = [json.loads(line) for line in out.split("\0")[1::2]]
        assert len(ends) == len(commands), (out, err)
        printed = [f"{o}\n{e}" for o, e in zip(out.split("\0")[::2], err.split("\0"), strict=True)]
        for (codes, said), code, text in zip(commands, ends, printed, strict=False):
            assert code in codes, (said, code, text)
            for name, key in KEYS.items():
                assert found_in(text, key) is None, (said, name, found_in(text, key), text)
        return printed

    def check_files(self) -> None:
        """Nothing that lies below the folder holds a key, but for files that the test wrote."""
        found = [one for one in search(self.place, KEYS) if not re.match(r"bad\d+\.yaml ", one)]
        assert found == []


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    place = tmp_path_factory.mktemp("planted")
    with HostileServer(handler) as server, hub_server() as hub:
        yield Planted(place, server.port, hub.url)


FINISHED = (0, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_server_sends_back_is_in_no_file_and_no_output(planted: Planted) -> None:
    common = ("recipe.yaml", "--run", "run", "--store", "store")
    # Killed with its store open: what its log and its pages hold is searched as it lies there.
    process = planted.start("-m", "curate", "run", *common)
    deadline = time.monotonic() + 60
    log = planted.place / "store" / "store.db-wal"
    while not (log.exists() and log.stat().st_size > 200_000) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert log.exists()
    planted.check_files()
    ways = [(FINISHED, ("run", *common, "--debug")), ((0,), ("report", "run", "--json"))]
    said = planted.run(*ways)[1]
    summary = json.loads(said[: said.rindex("}") + 1])
    assert summary["kept"] > 100 and summary["failed"] > 100
    assert summary["kept"] + summary["failed"] == len(ECHOES)
    planted.check_files()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_command_that_looks_at_a_run_shows_a_key(planted: Planted) -> None:
    if not (planted.place / "run").exists():
        pytest.skip("the run of the test above is looked at")
    import pyarrow.parquet as pq

    rows = [
        row.hex()
        for path in (planted.place / "run").rglob("*.parquet")
        if path.parent.name in ("failed", "sft")
        for row in pq.read_table(path, columns=["id"])["id"].to_pylist()[:3]
    ]
    assert len(rows) >= 6
    store, preview = ("--store", "store"), ("preview", "recipe.yaml", "-n", "40")
    planted.run(
        ((0,), ("report", "run")),
        ((0,), ("report", "run", "--html", "page.html")),
        ((0,), ("store", "export", *store, "-o", "replies.jsonl")),
        ((0,), ("store", "stats", *store)),
        ((0,), ("compare", "run", "run")),
        ((0, 1, 4), ("doctor", *store)),
        ((0,), ("export", "run", "--as", "messages", "-o", "messages.jsonl")),
        ((0, 2), ("export", "run", "--as", "alpaca", "-o", "alpaca.csv")),
        *(((0,), ("explain", "run", row)) for row in rows),
        *(((0,), ("explain", "run", row, "--json")) for row in rows),
        (FINISHED, (*preview, *store)),
        (FINISHED, (*preview, *store, "--json")),
        ((0,), ("run", "recipe.yaml", "--dry-run", *store)),
        ((0, 1, 2), ("push", "run", "ann/planted")),
        ((2,), ("push", "run", "nobody/planted")),
        ((0,), ("models", "--check", "openai:tiny", "--base-url", URL, "--api-key-env", LOGIN)),
        (FINISHED, ("run", "recipe.yaml", "--run", "run", *store, "--retry-failed", "--debug")),
    )
    planted.check_files()


REFUSED = {
    "query": {"base_url": f"http://model.example/v1?k={QUERY}"},
    "path": {"base_url": f"http://model.example/{PATH}/v1"},
    "login": {"base_url": f"http://ann:{PASSWORD}@model.example/v1"},
    "name": {"model": f"openai:{NAME}"},
    "variable": {"api_key_env": PASTED},
    "api_key": {"api_key": PASTED},
    "headers": {"headers": {"Authorization": PASTED}},
    "identity": {"identity": f"mine {KEYS['the key in another variable']}"},
    "number": {"temperature": OTHER},
    "prefix": {"model": OTHER},
    "option": {OTHER: 1},
}
WORDS = {
    "--model": ("--model", f"openai:{NAME}"),
    "--base-url": ("--base-url", f"http://model.example/v1?token={KEY}"),
    "--set": ("--set", f"models.judge.api_key={KEY}"),
    "--set of a name": ("--set", f"models.judge.{KEY.replace('.', '')}=1"),
    "--set of a prompt": ("--set", f"steps.respond.system={KEY}"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_key_where_none_belongs_is_refused_and_not_repeated(planted: Planted) -> None:
    commands = []
    for number, where in enumerate([*REFUSED, *WORDS]):
        recipe = planted.recipe(f"bad{number}.yaml", **REFUSED.get(where, {}))
        common = ("run", recipe, "--run", "bad", "--store", "bad-store", "--debug")
        commands.append(((2,), (*common, *WORDS.get(where, ()))))
    planted.run(*commands)
    planted.check_files()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hub_that_sends_the_token_back_is_not_quoted(planted: Planted) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = json.dumps({"error": f"what is {self.headers.get('Authorization')}?"})
            said += b64encode(TOKEN.encode()).decode()
            self.send_response(400 if "whoami" in self.path else 500, said.replace("\n", " "))
            self.send_header("X-Error-Message", said)
            self.end_headers()
            self.wfile.write(said.encode())

        do_HEAD = do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        words = ("filter", "hub://ann/x", "length:min=3", "-o", "out.jsonl", "--debug")
        planted.run(
            ((2, 4), ("push", "rows.jsonl", "ann/x", "--debug")), ((2, 4), words), HF_ENDPOINT=url
        )
        server.shutdown()
    planted.check_files()
