"""Servers that break HTTP: no reply on a wrong row, and no more memory than a run needs."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.models.model import open_model
from curate.models.remote import connection
from tests.engine.asking import driver, one

from .chaos import Answer, Received, chat
from .hostile import ENDLESS, Attack, HostileServer, bomb, endless, raw

CHILD = Path(__file__).with_name("hostile_child.py")
WRONG = raw(chat("another row's").body)
MOST_MB = 500


def asked(folder: Path, server: HostileServer, rows: int, concurrency: int) -> list[Any]:
    spec = {"model": "openai:tiny", "base_url": server.url, "max_concurrency": concurrency}
    model = open_model(spec)
    model.info = replace(model.info, retry_delay=0.0002)
    with driver(folder, model) as opened:
        return opened.run([one(f"question {n}") for n in range(rows)])


SURPLUS = {
    "twice": lambda answer: answer + answer,
    "two more": lambda answer: answer + WRONG + WRONG,
    "late 408": lambda answer: answer + raw(b"", "408 Request Timeout"),
    "garbage": lambda answer: answer + b"\0garbage\r\n\r\n",
    "half of one more": lambda answer: answer + WRONG[:70],
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize("surplus", SURPLUS)
def test_no_reply_reaches_another_row(surplus: str, concurrency: int, tmp_path: Path) -> None:
    class Surplus(HostileServer):
        """Answer each request and keep the connection open, with more on it than was asked for."""

        async def _answer(self, request: Received, writer: Any) -> bool:
            answer = raw(chat(f"re: {request.text}").body)
            # What is not HTTP breaks its own attempt as well, so the next one is left alone.
            broken = surplus == "garbage" and request.times
            writer.write(answer if broken else SURPLUS[surplus](answer))
            await writer.drain()
            return True

    rows = 1000 if concurrency > 1 else 300
    with Surplus(lambda request: ()) as server:
        outcomes = asked(tmp_path, server, rows, concurrency)
    for number, outcome in enumerate(outcomes):
        assert outcome.error is None and outcome.value == f"re: question {number}"


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_answer_before_the_request_is_no_answer(
    concurrency: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What comes while a new connection rests is seen. On a busy machine the server, a thread of
    # this process, may need longer than the usual 5 ms to send it.
    monkeypatch.setattr(connection, "REST_SECONDS", 0.25)
    with HostileServer(lambda r: chat(f"re: {r.text}"), greeting=WRONG) as server:
        outcomes = asked(tmp_path, server, 8, concurrency)
    assert server.greeted
    for number, outcome in enumerate(outcomes):
        assert outcome.error is None or "an answer before anything was asked" in str(outcome.error)
        assert outcome.error is not None or outcome.value == f"re: question {number}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_bombs_and_bodies_without_end_fail_their_rows_in_words(tmp_path: Path) -> None:
    def handler(request: Received) -> Answer | Attack:
        kind, _, name = request.text.partition(" ")
        if kind == "bomb":
            return bomb(name)
        return endless(name) if kind == "endless" else chat("fine")

    bombs = [f"bomb {name}" for name in ("gzip", "deflate", "br", "zstd")]
    # All at once, streamed and not, and good ones between them.
    texts = [f"endless {name}" for name in ENDLESS] + bombs
    texts = list(
        itertools.chain.from_iterable(zip(texts, (f"good {t}" for t in texts), strict=True))
    )
    with HostileServer(handler) as server:
        command = [sys.executable, str(CHILD), str(tmp_path), server.url, json.dumps(texts)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)
    said: Iterator[str] = iter(found["said"])
    for text in texts:
        for _ in ("whole", "stream"):
            words = next(said)
            assert (words == "fine") == text.startswith("good "), (text, words)
            assert text.startswith("good ") or "tiny" in words or "the server sent" in words
    assert found["peak"] < MOST_MB, found["before"]


def vectors(embedding: str, count: int = 32, index: str = "") -> bytes:
    """A whole answer of vectors, each as `embedding` writes it."""
    rows = (f'{{"index": {index or n}, "embedding": {embedding}}}' for n in range(count))
    return raw(f'{{"data": [{",".join(rows)}]}}'.encode())


MILLIONS = "[" + "0," * 4_000_000 + "0]"
VECTORS = {
    "numbers": (lambda: vectors("[" + "0," * 110_000 + "0]"), "a vector of 110,001 numbers"),
    "one of millions": (lambda: vectors(MILLIONS, 1), "1 vectors for 32 texts"),
    "rows": (lambda: raw(b'{"data": [' + b"{}," * 2_500_000 + b"{}]}"), "2,500,001 vectors"),
    "object": (lambda: raw(b'{"data": {"0": [1]}}'), "dict vectors for 32 texts"),
    "base64": (lambda: vectors('"AACAPwAAgD8="'), "a vector of type str"),
    "nested": (lambda: vectors("[" * 900 + "]" * 900), "without the expected fields"),
    "deep": (lambda: vectors("[" * 90_000 + "]" * 90_000), "the server sent"),
    "matrix": (lambda: vectors("[[1, 2], [3]]"), "without the expected fields"),
    "texts": (lambda: vectors('["1", "2"]'), "without the expected fields"),
    "digits": (lambda: vectors("[1" + "0" * 400 + "]"), "without the expected fields"),
    "more digits": (lambda: vectors("[1" + "0" * 5000 + "]"), "the server sent"),
    "too few": (lambda: vectors("[1, 2]", 31), "31 vectors for 32 texts"),
    "twice": (lambda: vectors("[1, 2]", index="0"), "two vectors with the same index"),
    "mixed index": (lambda: vectors("[1, 2]", index="null"), "without the expected fields"),
    "not a number": (lambda: vectors("[NaN, 1]"), "not finite"),
    "infinite": (lambda: vectors("[1, 1e999]"), "not finite"),
}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_vectors_that_attack_fail_their_rows_in_words(tmp_path: Path) -> None:
    made = {name: make() for name, (make, _) in VECTORS.items()}

    def handler(request: Received) -> Answer | Attack:
        name = str(request.body["input"][0]).removeprefix("vectors ").rpartition(" ")[0]
        name = name.rpartition(" ")[0]
        return [made[name]] if name in made else [vectors("[1, 2, 3]")]

    # All at once, and good ones between them.
    texts = [f"vectors {one} {n}" for n, name in enumerate(VECTORS) for one in (name, "good")]
    with HostileServer(handler) as server:
        command = [sys.executable, str(CHILD), str(tmp_path), server.url, json.dumps(texts)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)
    said = iter(found["said"])
    for text in texts:
        name = text.removeprefix("vectors ").rpartition(" ")[0]
        for _ in ("whole", "stream"):
            words = next(said)
            expected = "32 of 3" if name == "good" else VECTORS[name][1]
            assert expected in words, text
    assert found["peak"] < MOST_MB, found["before"]
