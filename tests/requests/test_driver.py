"""The driver: answers in order, replay, and processes that are killed or interrupted."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Reply
from curate.requests.driver import RowTask
from curate.requests.scheduler import BATCH
from curate.store.budget import Budget
from curate.store.replies import LEASE_SECONDS
from curate.store.store import Store
from tests.engine.asking import Answering, chain, driver, one


def test_outcomes_come_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    model = Answering(delay=lambda text: random.Random(text).uniform(0, 0.005))
    with driver(tmp_path, model) as opened:
        outcomes = opened.run([one(str(n)) for n in range(3 * BATCH)])
        assert [o.value for o in outcomes] == [f"re: {n}" for n in range(3 * BATCH)]
        assert all(o.error is None and len(o.keys) == 1 for o in outcomes)
        assert opened.run([]) == []
    assert 2 <= model.most_busy <= 8
    assert model.closed


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    jobs = [chain(str(n), [["a", "b"], ["c"]]) for n in range(40)]
    model = Answering()
    with driver(tmp_path, model) as opened:
        first = opened.run(jobs)
        assert opened.counts.sent == len(model.sent) == 120
        assert opened.run(jobs) == first
        assert (opened.counts.sent, opened.counts.replayed) == (120, 120)
    with driver(tmp_path, again := Answering()) as opened:
        assert opened.run(jobs) == first
        assert again.sent == []
        assert (opened.counts.sent, opened.counts.replayed) == (0, 120)
        tally = opened.spending.tally()
        assert (tally.sent, tally.replayed) == (120, 240)


def test_a_reply_looks_the_same_when_it_is_new_and_when_it_is_replayed(tmp_path: Path) -> None:
    seen: list[Reply] = []

    def start() -> Any:
        seen.append((yield Ask.text("x")))

    model = Answering(lambda text: Reply("t", values=((0.1, 2),), logprobs=({"a": (1,)},)))
    for _ in range(2):
        with driver(tmp_path, model) as opened:
            assert opened.run([RowTask(start)])[0].error is None
    assert len(model.sent) == 1
    assert seen[0] == seen[1] == Reply("t", values=([0.1, 2],), logprobs=({"a": [1]},))
    assert seen[0].key == seen[1].key != ""


CHILD = """
import sys
from pathlib import Path
from curate.ask import Ask
from curate.requests import sender
from curate.requests.driver import Driver, RowTask
from curate.store import replies
from curate.store.budget import Budget
from curate.store.store import Store
from curate.models.model import open_model

folder, log, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
replies.LEASE_SECONDS = float(sys.argv[4])
sender.RENEWED_SECONDS = replies.LEASE_SECONDS / 4


def job(number):
    def start():
        first = yield Ask.text(f"{number} first")
        second = yield Ask.text(f"{number} second after {first.text}")
        return second.text
    return RowTask(start, salt=str(number))

spec = {"model": f"scripted:{folder}/script.jsonl", "identity": "m", "log": f"{folder}/{log}",
        "max_concurrency": 16, "shuffle": 3}
with Store.open(folder / "store") as store:
    spending = Budget(store, "run")
    with Driver(store, {"m": open_model(spec)}, spending=spending) as driver:
        print("ready", flush=True)
        for outcome in driver.run([job(n) for n in range(count)]):
            print(outcome.value or outcome.error)
"""


def child(
    folder: Path, log: str, count: int, silence: float = LEASE_SECONDS
) -> subprocess.Popen[str]:
    """Return a process that asks; if it is killed, its leases hold for `silence` seconds."""
    command = [sys.executable, "-c", CHILD, str(folder), log, str(count), str(silence)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def script(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def wait_for_lines(process: subprocess.Popen[str], path: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path.name} never got {count} lines"
        time.sleep(0.005)


def stored_keys(folder: Path) -> set[str]:
    with Store.open(folder / "store") as store:
        return {exchange.key for exchange in store.exchanges()}


FAULTY = (
    {"when": {"contains": "7 first"}, "fault": "permanent"},
    {"when": {"contains": "5 first"}, "fault": "server", "times": 2},
    {"when": {"contains": "first"}, "reply": "one"},
    {"when": {}, "reply": "two"},
)


@pytest.mark.slow
def test_killed_again_and_again_nothing_committed_is_sent_twice(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    script(calm, *FAULTY)
    expected, _ = child(calm, "log", 300).communicate()
    script(tmp_path, *FAULTY)
    dice = random.Random(4)
    for kill in range(4):
        paid = stored_keys(tmp_path)
        # Long enough that the next one finds the leases of the killed one.
        process = child(tmp_path, f"log{kill}", 300, silence=2)
        wait_for_lines(process, tmp_path / f"log{kill}", dice.randint(20, 90))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not paid & set((tmp_path / f"log{kill}").read_text().split())
    paid = stored_keys(tmp_path)
    out, error = child(tmp_path, "last", 300).communicate()
    assert (out, error) == (expected, "")
    assert not paid & set((tmp_path / "last").read_text().split())
    assert 0 < len(paid) < 600


def test_two_processes_share_one_store(tmp_path: Path) -> None:
    script(tmp_path, {"when": {"contains": "first"}, "reply": "one"}, {"when": {}, "reply": "two"})
    processes = [child(tmp_path, f"log{n}", 400) for n in range(2)]
    results = [process.communicate() for process in processes]
    assert results[0] == results[1]
    assert results[0][1] == ""
    assert len(stored_keys(tmp_path)) == 800
    sends = sum(len((tmp_path / f"log{n}").read_text().split()) for n in range(2))
    with Store.open(tmp_path / "store") as store:
        assert Budget(store, "run").tally().sent == sends
        assert store.stats()["replies"] == 800


def test_interrupt_ends_soon_and_keeps_what_had_arrived(tmp_path: Path) -> None:
    script(tmp_path, {"when": {"contains": "3 first"}, "reply": "late", "delay": 3600}, *FAULTY[2:])
    process = child(tmp_path, "log", 100)
    # The 19 slow rows end up holding all 16 places.
    wait_for_lines(process, tmp_path / "log", 60)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30, "it waited for replies that take an hour"
    assert "KeyboardInterrupt" in error
    sent = (tmp_path / "log").read_text().split()
    assert len(sent) == len(set(sent))
    assert 0 < len(sent) - len(stored_keys(tmp_path)) <= 16


def test_the_driver_works_where_a_loop_runs_already(tmp_path: Path) -> None:
    import asyncio

    async def notebook() -> Any:
        with driver(tmp_path, Answering()) as opened:
            return opened.run([one("x")])[0].value

    assert asyncio.run(notebook()) == "re: x"
    assert not [t for t in threading.enumerate() if t.name.startswith("curate")]


def test_progress_is_told_while_requests_run(tmp_path: Path) -> None:
    seen: list[int] = []
    model = Answering(delay=lambda text: 0.02, max_concurrency=2)
    with driver(tmp_path, model, progress=lambda counts: seen.append(counts.sent)) as opened:
        opened.run([one(str(n)) for n in range(60)])
    assert len(seen) >= 2
    assert seen == sorted(seen)


@pytest.mark.slow
def test_replaying_fifty_thousand_rows_takes_seconds(tmp_path: Path) -> None:
    jobs = [one(f"{n} {'word ' * 200}") for n in range(52_000)]
    model = Answering(lambda text: text.split()[0], max_concurrency=256)
    with driver(tmp_path, model) as opened:
        first = opened.run(jobs)
    begun = time.process_time()
    with driver(tmp_path, Answering()) as opened:
        assert opened.run(jobs) == first
        assert opened.counts.sent == 0
    assert time.process_time() - begun < 10


def test_a_reply_of_megabytes_passes_whole(tmp_path: Path) -> None:
    big = "x" * (4 << 20)
    with driver(tmp_path, Answering(lambda text: Reply(text=big))) as opened:
        assert opened.run([one("x")])[0].value == big
    with driver(tmp_path, Answering()) as opened:
        assert opened.run([one("x")])[0].value == big
