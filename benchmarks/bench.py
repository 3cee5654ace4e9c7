"""Measure commands side by side, each in a process of its own, and print one table.

A contender is a command whose last line of output is a JSON object. Its `seconds` are the figure
that counts (the work without start-up, or without checking the answer); without that key it is the
wall time of the whole process. The peak memory is the kernel's figure for that process.

Peers are installed into a temporary folder, never into the environment of the project. One that
cannot be installed, that fails or that hangs is left out with a line that says why; a contender of
ours that fails ends the benchmark.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKPLACE = Path(tempfile.gettempdir()) / "curate-benchmarks"
# In the environment of a command: the reading of the system-wide clock when it was started.
STARTED = "BENCHMARK_STARTED"
INSTALL_SECONDS = 300
# A process of a peer that takes longer is stopped, and said to have hung.
PEER_SECONDS = 300.0
# torch comes from the pins of the project: an unpinned one brings several GB of other builds.
PINS = Path(__file__).resolve().parent.parent / "constraints.txt"
# From this time of the slowest contender on, three runs are measured instead of five.
SLOW_SECONDS = 5.0


@dataclass(frozen=True)
class Measured:
    """The median time, the highest peak of memory, and the last JSON object printed."""

    seconds: float
    peak_mb: float
    result: Mapping[str, Any]
    spread: tuple[float, float] = (0.0, 0.0)
    wall: float = 0.0


@dataclass(frozen=True)
class Line:
    """A row of the table. `agrees` says in words whether the answer is the right one."""

    name: str
    version: str
    rows: int
    measured: Measured
    agrees: str = "yes"
    note: str = field(default="")


@dataclass(frozen=True)
class Contender:
    """A command with the name and version that the table shows."""

    name: str
    version: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    # A peer may fail or hang, and is left out then.
    is_peer: bool = False


def measure(contender: Contender, *, repeats: int = 5, warm_up: bool = True) -> Measured | None:
    """Run a contender `repeats` times after a warm-up, each time in a fresh process.

    Returns:
        The summary, or `None` where a peer failed or hung, which is printed.
    """
    runs = []
    for _ in range(repeats + warm_up):
        run = _attempt(contender)
        if run is None:
            return None
        runs.append(run)
    return _summary(runs[int(warm_up) :])


def side_by_side(
    contenders: Sequence[Contender], *, repeats: int | None = None
) -> dict[str, Measured]:
    """Run all contenders in turns after a warm-up, so that a busy minute is nobody's alone.

    Without `repeats` it is five turns, or three when the slowest contender takes over five seconds.

    Returns:
        The summary of each by its name, in order; of those left out there is none.
    """
    first = {one.name: _attempt(one) for one in contenders}
    slow = max(run.wall for run in first.values() if run) > SLOW_SECONDS
    left = [one for one in contenders if first[one.name]]
    runs: dict[str, list[Measured]] = {one.name: [] for one in left}
    for _ in range(repeats or (3 if slow else 5)):
        for one in [one for one in left if one.name in runs]:
            run = _attempt(one)
            if run is None:
                del runs[one.name]
            else:
                runs[one.name].append(run)
    return {name: _summary(of_one) for name, of_one in runs.items()}


def _attempt(contender: Contender) -> Measured | None:
    """Run a contender once; say why a peer is left out."""
    limit = PEER_SECONDS if contender.is_peer else None
    try:
        return _once(contender.command, contender.env, limit)
    except RuntimeError as error:
        if not contender.is_peer:
            raise SystemExit(f"{contender.name}: {error}") from error
        said = str(error).strip().splitlines()
        leave_out(contender.name, f"{said[0]}{f': {said[-1]}' if len(said) > 1 else ''}")
        return None


def leave_out(name: str, reason: str) -> None:
    """Print that a contender is not measured, and why."""
    print(f"- left out: {name}: {reason}", flush=True)


def since_start() -> float:
    """Return the seconds since the parent started this process, its imports included."""
    return time.monotonic() - float(os.environ[STARTED])


def _summary(runs: Sequence[Measured]) -> Measured:
    times = [run.seconds for run in runs]
    return Measured(
        statistics.median(times),
        max(run.peak_mb for run in runs),
        runs[-1].result,
        (min(times), max(times)),
        statistics.median(run.wall for run in runs),
    )


def _once(command: Sequence[str], env: Mapping[str, str], limit: float | None) -> Measured:
    """Run a command once.

    Raises:
        RuntimeError: it failed, or took longer than `limit` seconds.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        began = time.monotonic()
        everything = {**os.environ, **env, STARTED: str(began)}
        # Peers were compiled when they were installed; a checkout is by its first run, the warm-up.
        everything.pop("PYTHONDONTWRITEBYTECODE", None)
        # A session of its own, so that a peer that hangs ends with all its workers.
        process = subprocess.Popen(
            command, stdout=output, stderr=complaints, env=everything, start_new_session=True
        )
        clock = threading.Timer(limit or 0, os.killpg, (process.pid, signal.SIGKILL))
        clock.daemon = True
        if limit is not None:
            clock.start()
        # Not process.wait(): only wait4 tells what this one child used at most.
        _, status, usage = os.wait4(process.pid, 0)
        clock.cancel()
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if limit is not None and wall >= limit and process.returncode == -signal.SIGKILL:
            raise RuntimeError(f"it hung: no answer after {limit:.0f} s")
        if process.returncode:
            complaints.seek(0)
            last = complaints.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"exit {process.returncode} from: {' '.join(command)}\n{last}")
        output.seek(0)
        lines = output.read().decode().splitlines()
    result = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Measured(result.get("seconds", wall), usage.ru_maxrss / unit, result, wall=wall)


def print_table(title: str, lines: Sequence[Line]) -> None:
    """Print name, version, time, rows/s, peak memory, agreement, and the time a row takes.

    That is told as a multiple of the first line's, since slow contenders may be given fewer rows.
    """
    print(f"\n### {title}\n")
    print("| name | version | seconds | rows/s | peak MB | x first | answers agree | note |")
    print("|---|---|--:|--:|--:|--:|---|---|")
    for line in lines:
        seconds = line.measured.seconds
        ratio = seconds / line.rows / (lines[0].measured.seconds / lines[0].rows)
        print(
            f"| {line.name} | {line.version} | {seconds:.3f} | {line.rows / seconds:,.0f} | "
            f"{line.measured.peak_mb:,.0f} | {ratio:.2f} | {line.agrees} | {line.note} |"
        )
    sys.stdout.flush()


def print_goal(what: str, found: float, *, most: float | None = None, least: float = 0.0) -> None:
    """Print whether a figure is at most `most` (or at least `least`), in words."""
    met = found <= most if most is not None else found >= least
    goal = f"at most {most:g}" if most is not None else f"at least {least:g}"
    print(f"- {'met' if met else '**missed**'}: {what}: {found:.3g} (goal: {goal})")
    sys.stdout.flush()


def print_ratio(
    what: str,
    found: Mapping[str, Measured],
    over: str,
    under: str,
    *,
    most: float | None = None,
    least: float = 0.0,
    figure: Callable[[Measured], float] = lambda measured: measured.seconds,
) -> None:
    """Print whether a ratio of two contenders is as it should be, or which of them is missing."""
    missing = [name for name in (over, under) if name not in found]
    if missing:
        print(f"- not measured: {what}: without {' and '.join(missing)}", flush=True)
        return
    print_goal(what, figure(found[over]) / figure(found[under]), most=most, least=least)


def machine() -> str:
    """Return the machine in one line."""
    names = Path("/proc/cpuinfo")
    found = [
        text.partition(":")[2].strip()
        for text in (names.read_text().splitlines() if names.exists() else [])
        if text.startswith("model name")
    ]
    cpu = found[0] if found else platform.processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def peers(*requirements: str) -> Path | None:
    """Install peers (once) into a temporary folder; put it on `PYTHONPATH` of their commands.

    Returns:
        The folder, or `None` where they cannot be installed; then the way to do it is printed.
    """
    key = hashlib.sha256(" ".join((*requirements, sys.version)).encode()).hexdigest()[:12]
    folder = WORKPLACE / f"peers-{key}"
    if (folder / "complete").exists():
        return folder
    WORKPLACE.mkdir(parents=True, exist_ok=True)
    pins = WORKPLACE / "torch.txt"
    pins.write_text("".join(one for one in PINS.open() if one.startswith("torch==")))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "-c", str(pins)]
    command += ["--target", str(folder), "--upgrade", *requirements]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        said = next((s for s in error.stderr.splitlines() if s.startswith("ERROR")), "pip failed")
    except subprocess.TimeoutExpired:
        said = f"pip took more than {INSTALL_SECONDS} s"
    else:
        (folder / "complete").touch()
        return folder
    by_hand = f"{shlex.join(command)} && touch {folder / 'complete'}"
    leave_out(", ".join(requirements), f"{said}; to install them by hand: {by_hand}")
    return None
