"""Kill runs against a chaotic server, a thousand times: `python -m tests.models.chaos_kills`.

A campaign runs one recipe in one folder, killed (KILL, TERM or INT) at random moments, until the
last run may end; then every row is there, the files are those of an undisturbed run, and no reply
that was durable was asked for again. Runs are forks of a process that has everything imported: 0.4
instead of 0.7 s to the first request. The tests run one campaign of new interpreters.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from curate.pipeline import Result
from curate.store.budget import Budget
from curate.store.store import Store
from tests.engine.conftest import fingerprint
from tests.engine.contract_steps import number_in

from . import chaos, chaos_child
from .chaos import Answer, Received, Server, chat
from .test_chaos import plan

CHILD = Path(__file__).with_name("chaos_child.py")
ROWS, KILLS = 240, 20
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CEILING = 5.0


def handler(request: Received) -> Answer:
    """Ratings and answers that are a function of the prompt alone, and every fault there is."""
    planned = plan(request.text)
    if planned and (not planned[1] or request.times < 2):
        return chaos.fault(planned[0])
    return chat(str(number_in(request.text) % 10), tokens=(20, 3))


def child(folder: Path, server: Server) -> subprocess.Popen[bytes]:
    """Start a run that takes SIGINT, whatever its parent does with it."""
    command = [sys.executable, str(CHILD), str(folder), server.url, str(ROWS)]
    return subprocess.Popen(
        command,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


class Process(Protocol):
    """What is used of a child."""

    def poll(self) -> int | None: ...

    def send_signal(self, number: signal.Signals) -> None: ...

    def wait(self, timeout: float) -> int: ...


class Forked:
    """A run in a fork of a process that has all modules and nothing else."""

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload([chaos_child.__name__, "curate.engine.run"])

    def __init__(self, folder: Path, server: Server) -> None:
        """Start the run."""
        self._process = self._context.Process(target=_run, args=(folder, server.url))
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit code, or nothing while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        assert self._process.pid is not None
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self, timeout: float) -> int:
        """Return the exit code once there is one."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it runs for over {timeout} s"
        return self._process.exitcode


def _run(folder: Path, url: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(chaos_child.main(folder, url, ROWS))


def committed(folder: Path) -> Counter[str]:
    """Return how many replies the store holds for each prompt."""
    if not (folder / "store" / "store.db").exists():
        return Counter()
    with Store.open(folder / "store") as store:
        return Counter(e.request.content["messages"][-1][1] for e in store.exchanges())


def stored(folder: Path) -> int:
    """Return how many replies are durable; unlike `Store.open` it disturbs nobody."""
    if not (folder / "store" / "store.db").exists():
        return 0
    database = sqlite3.connect(f"file:{folder / 'store' / 'store.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM replies").fetchone()[0])
    except sqlite3.OperationalError:  # Its tables are being made.
        return 0
    finally:
        database.close()


def kill_after(
    process: Process,
    server: Server,
    folder: Path,
    requests: int,
    replies: int,
    number: signal.Signals = signal.SIGKILL,
) -> None:
    """Kill a process once so many more requests have come in and replies become durable."""
    goal, deadline = len(server.received) + requests, time.monotonic() + 120
    enough = replies + stored(folder)
    while process.poll() is None and (
        len(server.received) < goal or (replies and stored(folder) < enough)
    ):
        assert time.monotonic() < deadline, "the run stands still"
        time.sleep(0.001)
    process.send_signal(number)
    process.wait(120)


def campaign(
    folder: Path,
    server: Server,
    dice: random.Random,
    kills: int,
    start: Callable[[Path, Server], Process] = child,
) -> Iterator[signal.Signals]:
    """Kill runs in `folder`, yield each signal, and let the last run end."""
    for count in range(kills):
        paid, before, number = committed(folder), len(server.received), dice.choice(SIGNALS)
        # Every other one also after a commit: on a slow machine a burst of requests is out long
        # before the first reply is durable.
        replies = dice.randint(1, 3) * (count % 2)
        process = start(folder, server)
        kill_after(process, server, folder, dice.randint(0, 16), replies, number)
        asked = Counter(request.text for request in server.received[before:])
        assert not paid & asked, f"a committed reply was asked again ({paid & asked})"
        yield number
    paid, before = committed(folder), len(server.received)
    assert child(folder, server).wait(240) == 1, "rows fail for good, by the plan"
    assert not paid & Counter(request.text for request in server.received[before:])


def check_whole(folder: Path, want: object, server: Server) -> None:
    """Every row is accounted for, the files are as they should be, and so is the bill."""
    summary = Result.open(folder / "run").summary
    ended = sum(summary[name] for name in ("kept", "used", "dropped", "failed"))
    assert summary["in"] == ROWS and summary["in"] + summary["made"] == ended
    assert fingerprint(folder / "run") == want
    with Store.open(folder / "store") as store:
        run_id = store.read("SELECT run FROM spending")[0][0]
        tally = Budget(store, run_id, max_cost=CEILING).tally()
    assert tally.sent >= len(server.received)
    assert tally.cost_usd + tally.reserved_usd <= CEILING


def main() -> None:
    """Run campaigns until there were so many kills, or so many seconds have passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", default="kills")
    given = parser.parse_args()
    dice, done, campaigns = random.Random(given.seed), Counter[str](), 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, Server(handler) as server:
        assert child(Path(name) / "calm", server).wait(240) == 1
        want = fingerprint(Path(name) / "calm" / "run")
        while sum(done.values()) < given.kills and time.monotonic() - began < given.seconds:
            server.forget()
            campaigns += 1
            folder = Path(name) / f"killed{campaigns}"
            left = min(KILLS, given.kills - sum(done.values()))
            for number in campaign(folder, server, dice, left, Forked):
                done[number.name] += 1
            check_whole(folder, want, server)
            told = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
            seconds = time.monotonic() - began
            print(
                f"{told} in {seconds:.0f} s: nothing lost, nothing paid twice, files identical",
                flush=True,
            )


if __name__ == "__main__":
    main()
