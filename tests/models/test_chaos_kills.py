"""Promise 2 over real HTTP: killed at any instant, against a chaotic server, the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from curate.engine.requests.spending import Spending
from curate.engine.requests.store import Store
from tests.engine.conftest import fingerprint
from tests.engine.contract_steps import number_in

from . import chaos
from .chaos import Answer, Received, Server, chat
from .test_chaos import plan

CHILD = Path(__file__).with_name("chaos_child.py")
ROWS, KILLS = 150, 20


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


def kill_after(process: subprocess.Popen[bytes], server: Server, requests: int) -> bool:
    """Kill a process once the server has seen so many more requests; tell whether it died."""
    goal, deadline = len(server.received) + requests, time.monotonic() + 60
    while process.poll() is None and len(server.received) < goal:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    return process.wait(60) == -signal.SIGKILL


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
        for _ in range(KILLS):
            paid, before = committed(folder), len(server.received)
            assert kill_after(child(folder, server), server, dice.randint(1, 16))
            asked = Counter(request.text for request in server.received[before:])
            assert not paid & asked, "a committed reply was asked again"
        paid, before = committed(folder), len(server.received)
        assert 20 < len(paid) < ROWS, "the kills came too early or too late to show anything"
        assert child(folder, server).wait(120) == 1
        assert not paid & Counter(request.text for request in server.received[before:])
    assert fingerprint(folder / "run") == want
    with Store.open(folder / "store") as store:
        run_id = store.read("SELECT run FROM spending")[0][0]
        tally = Spending(store, run_id, max_cost=5.0).tally()
        assert tally.sent >= len(server.received)
        assert tally.cost_usd + tally.reserved_usd <= 5.0
