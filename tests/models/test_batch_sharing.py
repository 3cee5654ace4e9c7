"""Two processes on one store, in batch jobs or not, pay once for what both ask."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, request_key
from curate.models.model import open_model
from curate.requests import sender
from curate.requests.batch import poll as follow
from curate.requests.batch import queue as batch
from curate.store.replies import LEASE_SECONDS, Leases
from curate.store.store import Store
from tests.engine.asking import Answering, driver
from tests.engine.asking import one as task
from tests.models.batch_server import BatchServer, Line, chat, text_of

pytestmark = pytest.mark.slow
CHILD = Path(__file__).with_name("sharing_child.py")


def echo(body: Mapping[str, Any]) -> list[Line]:
    return [chat(f"re: {text_of(body)}")]


def begin(*words: Any, silence: float = LEASE_SECONDS) -> subprocess.Popen[str]:
    """Return a child that is ready to ask."""
    command = [sys.executable, str(CHILD), *map(str, (*words, silence))]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


@pytest.mark.parametrize(
    ("first", "second"), [("batch", "direct"), ("direct", "batch"), ("batch", "batch")]
)
def test_what_one_process_asks_for_the_other_waits_for(
    tmp_path: Path, first: str, second: str
) -> None:
    # What says that a process of a kind has asked.
    asking = {"direct": "POST /chat/one", "batch": "done POST /batches"}
    under_way, joined, answer = threading.Event(), threading.Event(), threading.Event()
    of_second = asking[second]

    def watch(name: str) -> None:
        if under_way.is_set() and name == of_second:
            joined.set()
        if name == asking[first]:
            under_way.set()
        if name == "POST /chat/one":
            answer.wait(60)

    with BatchServer(echo, states=("in_progress",)) as server:
        server.on = watch
        children = [
            begin(tmp_path, server.url, first, 20, "one"),
            begin(tmp_path, server.url, second, 25, "two"),
        ]
        go(children[0])
        assert under_way.wait(60)
        go(children[1])
        # The second one joins, and asks for what the first one does not, and for nothing more.
        assert joined.wait(60)
        time.sleep(1)
        server.states = ("completed",)
        answer.set()
        found = [json.loads(child.communicate(timeout=60)[0]) for child in children]
    for one, count in zip(found, (20, 25), strict=True):
        assert one["said"] == [f"re: text {number}" for number in range(count)]
    assert set(server.asked.values()) == {1}
    assert [one["sent"] for one in found] == [20, 5]
    with Store.open(tmp_path / "store") as store:
        for table in ("leases", "senders", "batch_followers", "batch_jobs"):
            assert store.read(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_job_that_nobody_follows_holds_up_nothing(tmp_path: Path) -> None:
    """Whoever is killed leases nothing for longer than its silence; its job stays to be found."""
    made = threading.Event()
    with BatchServer(echo, states=("in_progress",)) as server:
        server.on = lambda name: made.set() if name == "done POST /batches" else None
        child = begin(tmp_path, server.url, "batch", 3, "one", silence=2)
        go(child)
        assert made.wait(60)
        with child:
            child.kill()
        other = begin(tmp_path, server.url, "direct", 3, "two", silence=2)
        go(other)
        said = json.loads(other.communicate(timeout=60)[0])["said"]
    assert said == [f"re: text {number}" for number in range(3)]
    with Store.open(tmp_path / "store") as store:
        assert store.read("SELECT count(*) FROM batch_jobs") == [(1,)]


def test_a_batch_leaves_while_another_command_asks_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another command waits for may be in its batch job, for a day."""
    monkeypatch.setattr(batch, "GATHER_SECONDS", 0.05)
    monkeypatch.setattr(follow, "FIRST_POLL_SECONDS", 0.05)
    monkeypatch.setattr(sender, "LONGEST_LEASED_SECONDS", 0.5)
    texts = [f"text {number}" for number in range(30)]
    keys = [request_key(Ask.text(text, max_tokens=16), "answering", text) for text in texts]
    other, direct, held = Leases(), Answering(), list[bool]()
    with BatchServer(echo) as server, Store.open(tmp_path / "store") as store:
        store.commit_now(other.join)
        store.commit_now(lambda connection: other.take(connection, keys))
        store.commit_now(other.share)

        def give_back(name: str) -> None:
            if name == "done POST /batches":
                held.append(not direct.sent)
                store.commit_now(other.end)

        server.on = give_back
        spec = {"model": "openai:tiny", "base_url": server.url, "batch": {"discount": 0.5}}
        price = {"input": 1.0, "output": 2.0}
        models = {"direct": direct, "batched": open_model({**spec, "price": price})}
        with driver(tmp_path, models) as opened:
            asked = [task(text, model="direct") for text in texts]
            outcomes = opened.run([*asked, task("late", model="batched")])
    assert [outcome.value for outcome in outcomes] == [f"re: {text}" for text in [*texts, "late"]]
    assert held == [True]
    assert sorted(direct.sent) == sorted(texts)
