"""Promise 2 over real HTTP: killed at any instant, against a chaotic server, the same bytes."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.store.budget import Budget
from curate.store.store import Store
from tests.engine.conftest import fingerprint
from tests.engine.contract_steps import number_in

from . import chaos
from .chaos import Answer, Received, Server, chat
from .test_chaos import plan

CHILD = Path(__file__).with_name("chaos_child.py")
ROWS, KILLS = 240, 20


def handler(request: Received) -> Answer:
    planned = plan(request.text)
    if planned and (not planned[1] or request.times < 2):
        return chaos.fault(planned[0])
    # Ratings and answers that are a function of the prompt alone.
    return chat(str(number_in(request.text) % 10), tokens=(20, 3))


def child(folder: Path, server: Server) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(CHILD), str(folder), server.url, str(ROWS)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def committed(folder: Path) -> Counter[str]:
    """Return how many replies the store holds for each prompt."""
    if not (folder / "store" / "store.db").exists():
        return Counter()
    with Store.open(folder / "store") as store:
        return Counter(e.request.content["messages"][-1][1] for e in store.exchanges())


def stored(folder: Path) -> int:
    """Return how many replies are durable; unlike `Store.open` it disturbs nobody."""
    database = sqlite3.connect(f"file:{folder / 'store' / 'store.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM replies").fetchone()[0])
    finally:
        database.close()


def kill_after(
    process: subprocess.Popen[bytes], server: Server, folder: Path, requests: int, replies: int
) -> None:
    """Kill a process once so many more requests have come in and replies become durable."""
    goal, deadline = len(server.received) + requests, time.monotonic() + 60
    enough = replies + (stored(folder) if (folder / "store" / "store.db").exists() else 0)
    while process.poll() is None and len(server.received) < goal:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    while process.poll() is None and replies and stored(folder) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_change_no_byte_and_ask_nothing_answered_again(tmp_path: Path) -> None:
    dice = random.Random("kills")
    with Server(handler) as server:
        assert child(tmp_path / "calm", server).wait(120) == 1  # rows fail for good, by the plan
        want = fingerprint(tmp_path / "calm" / "run")
        assert len(want) >= 4
        server.forget()
        folder = tmp_path / "killed"
        for number in range(KILLS):
            paid, before = committed(folder), len(server.received)
            # Every other one also after a commit: on a slow machine a burst of requests is out long
            # before the first reply is durable.
            replies = dice.randint(1, 3) * (number % 2)
            kill_after(child(folder, server), server, folder, dice.randint(1, 16), replies)
            asked = Counter(request.text for request in server.received[before:])
            assert not paid & asked, "a committed reply was asked again"
        paid, before = committed(folder), len(server.received)
        assert 20 < len(paid) < ROWS, "the kills came too early or too late to show anything"
        assert child(folder, server).wait(120) == 1
        assert not paid & Counter(request.text for request in server.received[before:])
    assert fingerprint(folder / "run") == want
    with Store.open(folder / "store") as store:
        run_id = store.read("SELECT run FROM spending")[0][0]
        tally = Budget(store, run_id, max_cost=5.0).tally()
        assert tally.sent >= len(server.received)
        assert tally.cost_usd + tally.reserved_usd <= 5.0


def test_a_planted_key_is_in_no_file_and_no_output(tmp_path: Path) -> None:
    key = "sk-planted-fedcba9876543210"

    def leaky(request: Received) -> Answer:
        told = request.headers["authorization"]
        kind = number_in(request.text) % 5
        if kind == 0:
            return chat(f"5 {told}") if "Rate" not in request.text else chat("5")
        return {
            1: chaos.refusal(403, f"wrong key: {told}", headers={"x-echo": told}),
            2: Answer(f"<b>{told}</b>".encode(), 502, content_type="text/html"),
            3: Answer(told.encode()),
            4: chat(told),
        }[kind]

    with Server(leaky) as server:
        command = [sys.executable, str(CHILD), str(tmp_path), server.url, "25"]
        done = subprocess.run(
            command, env={**os.environ, "PLANTED_KEY": key}, capture_output=True, timeout=60
        )
        assert done.returncode == 1, done.stderr
        assert all(key in request.headers["authorization"] for request in server.received)
    assert key.encode() not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.json", "run.yaml", "store.db"} <= {path.name for path in files}
    assert not [path for path in files if key.encode() in path.read_bytes()]
    # Parquet is compressed, and so are the requests in the store: look inside, too.
    texts = [str(pq.read_table(path).to_pylist()) for path in tmp_path.rglob("*.parquet")]
    with Store.open(tmp_path / "store") as store:
        texts += [str(exchange) for exchange in store.exchanges()]
    assert len(texts) > 10 and "***" in "".join(texts)
    assert key not in "".join(texts)
