"""Batch jobs and kill -9: in whatever state a job is, none is lost, and none submitted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from curate.store.budget import Budget, Spent
from curate.store.store import Store
from tests.engine.conftest import fingerprint
from tests.engine.contract_steps import number_in

from .batch_child import STATES
from .batch_server import BatchServer, Line, chat, refusal, text_of

CHILD = Path(__file__).with_name("batch_child.py")
KEY = "sk-planted-fedcba9876543210"
ROWS = 60


class Replies:
    """Answers that are a function of the prompt alone; some fail at first, and one for good."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __call__(self, body: Mapping[str, Any]) -> Sequence[Line]:
        text = text_of(body)
        self.seen[text] += 1
        if number_in(text) == 41:
            return [chat(f"no number, {KEY}")]
        if number_in(text) % 10 == 7 and self.seen[text] == 1:
            return [refusal(500, "not now")]
        return [chat(str(number_in(text) % 10))]


def child(folder: Path, server: BatchServer, state: str | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(CHILD), str(folder), server.url, str(ROWS)]
    return subprocess.Popen(
        [*command, *([state] if state else [])],
        env={**os.environ, "PLANTED_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, and see that it told no secret."""
    said = b"".join(process.communicate(timeout=120))
    assert KEY.encode() not in said
    return process.returncode


def tally(folder: Path) -> Spent:
    with Store.open(folder / "store") as store:
        assert store.read("SELECT COUNT(*) FROM batch_lines")[0][0] == 0
        run_id = store.read("SELECT run FROM spending")[0][0]
        return Budget(store, run_id).tally()


class Calm(NamedTuple):
    """An undisturbed run: its files, what was asked, in how many jobs, and what was spent."""

    files: dict[str, str]
    asked: Counter[str]
    jobs: int
    spent: Spent


@pytest.fixture(scope="module")
def opened() -> Iterator[BatchServer]:
    with BatchServer(Replies()) as server:
        yield server


@pytest.fixture(scope="module")
def want(tmp_path_factory: pytest.TempPathFactory, opened: BatchServer) -> Calm:
    """Run it undisturbed, on the server that the others will use: its address is in errors."""
    folder = tmp_path_factory.mktemp("calm")
    assert finished(child(folder, opened)) == 1  # a row fails for good
    asked, jobs = opened.asked.copy(), len(opened.jobs)
    assert jobs == 4 and set(asked.values()) == {1, 2}
    return Calm(fingerprint(folder / "run"), asked, jobs, tally(folder))


@pytest.fixture
def server(opened: BatchServer, want: Calm) -> BatchServer:
    opened.forget()
    opened.reply = Replies()
    return opened


def assert_same(folder: Path, server: BatchServer, want: Calm) -> None:
    """Hold that a killed run came out as the calm one, and asked and paid for nothing more."""
    assert fingerprint(folder / "run") == want.files and len(want.files) >= 4
    assert (server.asked, len(server.jobs)) == (want.asked, want.jobs)
    spent = tally(folder)
    assert (spent.sent, spent.failed, spent.reserved_usd) == (want.spent.sent, want.spent.failed, 0)
    assert spent.cost_usd == pytest.approx(want.spent.cost_usd)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]
    # Parquet is compressed, and so are the requests in the store: look inside, too.
    texts = [str(pq.read_table(path).to_pylist()) for path in folder.rglob("*.parquet")]
    with Store.open(folder / "store") as store:
        texts += [str(exchange) for exchange in store.exchanges()]
    assert "no number, ***" in "".join(texts) and KEY not in "".join(texts)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_in_every_state_no_job_is_lost_and_none_submitted_twice(
    tmp_path: Path, server: BatchServer, want: Calm
) -> None:
    folder = tmp_path / "killed"
    # Each one goes on from where the one before was killed. At the second wave every kind of state
    # has been met; a few of them again, with a store that has replies.
    for state in (*STATES, "uploaded", "made", "partly collected"):
        assert finished(child(folder, server, state)) == -signal.SIGKILL, state
    assert finished(child(folder, server)) == 1
    assert_same(folder, server, want)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_that_was_on_its_way_when_the_process_died_is_waited_for(
    tmp_path: Path, server: BatchServer, want: Calm
) -> None:
    folder, died = tmp_path / "killed", threading.Event()
    process = child(folder, server)

    def kill(name: str) -> None:
        if name == "POST /batches" and not died.is_set():
            process.kill()
            process.wait()
            died.set()

    server.on = kill  # Before the server makes the job: it is there only after the process is gone.
    assert finished(process) == -signal.SIGKILL
    assert died.is_set()
    assert finished(child(folder, server)) == 1
    assert_same(folder, server, want)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_on_one_store_submit_nothing_twice(
    tmp_path: Path, server: BatchServer, want: Calm
) -> None:
    folders, store = [tmp_path / name for name in ("one", "two")], tmp_path / "store"
    store.mkdir()
    for folder in folders:
        folder.mkdir()
        (folder / "store").symlink_to(store)
    processes = [child(folder, server) for folder in folders]
    assert [finished(process) for process in processes] == [1, 1]
    assert [fingerprint(folder / "run") for folder in folders] == [want.files] * 2
    assert server.asked == want.asked
