"""Jobs in processes that can be killed: answers, errors, limits, and processes that end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curate.system.killable import JobKilled, KillablePool
from tests.confinement import confined

HERE = "tests.system.test_killable"


def work(job: Any) -> Any:
    """Do what a job says, in the child."""
    what, value = job
    if what == "double":
        print("noise")
        return value * 2
    if what == "raise":
        raise ValueError(value)
    if what == "spin":
        return 9**9**9
    if what == "fill":
        return len(bytearray(value))
    if what == "read":
        return Path(value).read_text()
    if what == "exit":
        os._exit(value)
    if what == "deep":
        return work(job)
    if what == "sleep":
        time.sleep(value)
    return os.getpid()


@pytest.fixture
def pool() -> Iterator[KillablePool]:
    made = KillablePool(f"{HERE}:work", seconds=0.3, memory_mb=600)
    yield made
    made.close()


def test_a_child_answers_many_jobs_and_noise_does_not_matter(pool: KillablePool) -> None:
    assert [pool.call(["double", n]) for n in range(5)] == [0, 2, 4, 6, 8]
    assert len({pool.call(["pid", 0]) for _ in range(3)}) == 1


def test_errors_are_told_and_leave_the_child_alive(pool: KillablePool) -> None:
    pid = pool.call(["pid", 0])
    with pytest.raises(ValueError, match="ValueError: no such thing"):
        pool.call(["raise", "no such\nthing"])
    with pytest.raises(ValueError, match="nested too deeply"):
        pool.call(["deep", 0])
    assert pool.call(["pid", 0]) == pid


def test_a_child_that_filled_its_memory_or_died_waiting_is_replaced(pool: KillablePool) -> None:
    pid = pool.call(["pid", 0])
    with pytest.raises(JobKilled, match="it took more than 600 MB of memory"):
        pool.call(["fill", 2 * 10**9])
    other = pool.call(["pid", 0])
    assert other != pid
    os.kill(other, signal.SIGKILL)
    while not _zombie(other):
        time.sleep(0.01)
    assert pool.call(["double", 2]) == 4


def test_a_job_that_spins_in_c_is_killed_and_its_child_replaced(pool: KillablePool) -> None:
    pid = pool.call(["pid", 0])
    with pytest.raises(JobKilled, match=r"more than 0.3 s of processor time"):
        pool.call(["spin", 0])
    assert pool.call(["pid", 0]) != pid
    with pytest.raises(JobKilled, match="its process ended with status 7"):
        pool.call(["exit", 7])
    assert pool.call(["double", 2]) == 4


def test_a_job_that_waits_uses_no_processor_time(pool: KillablePool) -> None:
    pool.call(["sleep", 0.5])


@confined()
def test_a_job_reads_and_starts_nothing(pool: KillablePool) -> None:
    with pytest.raises(ValueError, match="PermissionError"):
        pool.call(["read", "/etc/passwd"])


def test_threads_share_the_children(pool: KillablePool) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: pool.call(["double", n]), range(40)))
    assert found == [2 * n for n in range(40)]


def test_children_end_with_their_parent_even_where_it_is_killed(tmp_path: Path) -> None:
    code = (
        f"from curate.system.killable import KillablePool\n"
        f"pool = KillablePool('{HERE}:work', seconds=1.0, memory_mb=600)\n"
        "print(pool.call(['pid', 0]), flush=True)\n"
        "pool.call(['spin', 0])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    ended = threading.Event()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or _zombie(child):
            return
        ended.wait(0.1)
    raise AssertionError("the child lives on")


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
