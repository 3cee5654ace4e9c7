"""A cluster of two nodes on this machine, and commands that run on it in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import fingerprint
from tests.house.places import ROOT

MARK = "CURATE_TEST_CLUSTER"
# A distribution with the model prefix `echo`.
ECHO = Path(__file__).with_name("echo")


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, ECHO)))
    # On a machine whose memory is nearly full Ray would kill workers that have done nothing.
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_memory_monitor_refresh_ms": "0"}
    return {**os.environ, **own, **more}


class TwoNodes:
    """The process that holds both nodes, and its address."""

    def __init__(self, folder: Path) -> None:
        # Whatever belongs to the cluster has this in its environment, wherever it was started.
        self.mark = uuid.uuid4().hex
        script = Path(__file__).with_name("two_nodes.py")
        with (folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(script), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(**{MARK: self.mark}),
                cwd=folder,
            )
        lines = iter(self.process.stdout.readline, "")
        told = next((line for line in lines if line.startswith("{")), None)
        if told is None:
            self.close()
            raise AssertionError((folder / "stderr").read_text())
        self.address = json.loads(told)["address"]

    def tell(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        for line in iter(self.process.stdout.readline, ""):
            if line.strip() == command:
                return
        raise AssertionError(f"the cluster ended at '{command}'")

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self.process.stdin.close()
            self.process.wait(timeout=20)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """Return the processes of the cluster that still live."""
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[TwoNodes]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install -e '.[ray]')")
    # Paths of sockets may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    nodes = None
    try:
        nodes = TwoNodes(folder)
        yield nodes
    finally:
        if nodes is not None:
            nodes.close()
        shutil.rmtree(folder, ignore_errors=True)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "curate", *arguments]


def curate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`, and wait for it."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line in `folder`."""
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def on(cluster: TwoNodes) -> list[str]:
    return ["--engine", "ray", "--address", cluster.address]


def same(folder: Path, one: str, other: str, *, spending: bool = True) -> None:
    """Assert that two runs have the same files and counts, and sent and paid the same."""
    want = fingerprint(folder / one)
    assert len(want) > 3
    assert fingerprint(folder / other) == want
    reports = [json.loads((folder / name / "report.json").read_text()) for name in (one, other)]
    for report in reports:
        paid = () if spending else ("requests", "tokens", "cost_usd", "spending")
        measured = ("seconds", "peak_memory_mb", "this_time", "budget", "estimate", *paid)
        for name in measured:
            report.pop(name, None)
        for step in report["steps"]:
            del step["seconds"]
    assert reports[0] == reports[1]


def until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened while a process runs."""
    end = time.monotonic() + 180
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing came of it within three minutes"
        time.sleep(0.05)


def outlives_a_node(
    cluster: TwoNodes,
    process: subprocess.Popen[str],
    happened: Callable[[], bool],
    done: Callable[[], int],
) -> None:
    """Kill a node and delete its folder once something has happened; more is done, and all well."""
    try:
        until(happened, process)
        cluster.tell("kill")
        before = done()
        _, told = process.communicate(timeout=240)
    finally:
        process.kill()
        process.communicate()
        cluster.tell("start")
    assert process.returncode == 0, told
    assert done() > before


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
