"""Measure commands side by side, each in a process of its own, and print one table.

A contender is a command whose last line of output is a JSON object. Its `seconds` are the figure
that counts (the work without start-up, or without checking the answer); without that key it is the
wall time of the whole process. The peak memory is the kernel's figure for that process. Peers are
installed into a temporary folder, never into the environment of the project.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKPLACE = Path(tempfile.gettempdir()) / "curate-benchmarks"
# In the environment of a command: the reading of the system-wide clock when it was started.
STARTED = "BENCHMARK_STARTED"
INSTALL_SECONDS = 300
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


def measure(
    command: Sequence[str],
    *,
    repeats: int = 5,
    warm_up: bool = True,
    env: Mapping[str, str] | None = None,
) -> Measured:
    """Run a command `repeats` times after a warm-up, each time in a fresh process."""
    return _summary([_once(command, env) for _ in range(repeats + warm_up)][int(warm_up) :])


@dataclass(frozen=True)
class Contender:
    """A command with the name and version that the table shows."""

    name: str
    version: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def side_by_side(contenders: Sequence[Contender], *, repeats: int | None = None) -> list[Measured]:
    """Run all contenders in turns after a warm-up, so that a busy minute is nobody's alone.

    Without `repeats` it is five turns, or three when the slowest contender takes over five seconds.
    """
    first = [_once(one.command, one.env) for one in contenders]
    slow = max(run.wall for run in first) > SLOW_SECONDS
    turns = repeats or (3 if slow else 5)
    runs = [[_once(one.command, one.env) for one in contenders] for _ in range(turns)]
    return [_summary(of_one) for of_one in zip(*runs, strict=True)]


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


def _once(command: Sequence[str], env: Mapping[str, str] | None) -> Measured:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        began = time.monotonic()
        everything = {**os.environ, **(env or {}), STARTED: str(began)}
        # Peers were compiled when they were installed; a checkout is by its first run, the warm-up.
        everything.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(command, stdout=output, stderr=complaints, env=everything)
        # Not process.wait(): only wait4 tells what this one child used at most.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaints.seek(0)
            last = complaints.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"exit {process.returncode} from: {' '.join(command)}\n{last}")
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


def peers(*requirements: str) -> Path:
    """Install peers (once) into a temporary folder; put it on `PYTHONPATH` of their commands."""
    key = hashlib.sha256(" ".join((*requirements, sys.version)).encode()).hexdigest()[:12]
    folder = WORKPLACE / f"peers-{key}"
    if not (folder / "complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        try:
            subprocess.run(
                [*command, "--upgrade", *requirements],
                check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise
        (folder / "complete").touch()
    return folder
