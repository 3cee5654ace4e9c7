"""Recipes whose models are on nodes: the files and the counts of one machine, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from .conftest import TwoNodes, curate, lines, on, outlives_a_node, same, started, until

pytestmark = pytest.mark.slow

STEPS = """
import dataclasses
from curate.ask import Ask
from curate.step import Filter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rated(Filter):
    '''Keep what the model says little about.'''

    model: str | None = 'judge'

    def score(self, row):
        reply = yield Ask.text(row.text('instruction'), model=self.model)
        return len(reply.whole())

    def keep(self, score):
        return 'long' if score is not None and score > 20 else None
"""
RECIPE = """
inputs: {rows: rows.jsonl}
models:
  judge: {model: 'echo:any', log: LOG, seconds: SECONDS, replicas: 2}
steps:
  - length: {min: 1, on: instruction}
  - ./steps.py:Rated: {}
"""
ROWS = 60


def write(folder: Path, seconds: float) -> Path:
    """Write a recipe and its rows, and return the file that says what was asked."""
    rows = [{"prompt": f"row {n}" * (1 + n % 3)} for n in range(ROWS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "steps.py").write_text(STEPS)
    log = folder / "log"
    recipe = RECIPE.replace("LOG", str(log)).replace("SECONDS", str(seconds))
    (folder / "recipe.yaml").write_text(recipe)
    return log


def run(name: str, *more: str) -> list[str]:
    return ["run", "recipe.yaml", "-o", name, "--store", f"{name}.store", *more]


def processes(log: Path) -> list[int]:
    return [int(line.split()[0]) for line in lines(log)]


def gone(pids: set[int]) -> bool:
    end = time.monotonic() + 10
    while (left := any(Path(f"/proc/{pid}").exists() for pid in pids)) and time.monotonic() < end:
        time.sleep(0.1)
    return not left


def test_two_replicas_give_the_files_of_one_machine(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, seconds=0.0)
    assert curate(tmp_path, *run("here")).returncode == 0
    log.unlink()
    there = curate(tmp_path, *run("there", *on(cluster)))
    assert there.returncode == 0, there.stderr
    assert "judge: loading 2 replicas (2 on " in there.stderr
    same(tmp_path, "here", "there")
    assert len(lines(log)) == ROWS
    assert len(set(processes(log))) == 2
    assert gone(set(processes(log)))
    # The store does not know who answered: the same recipe here asks for nothing.
    log.unlink()
    again = curate(tmp_path, *run("again", "--store", "there.store"))
    assert again.returncode == 0, again.stderr
    assert not log.exists()


def test_a_replica_dies_and_nobody_counts_it(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, seconds=0.1)
    there = started(tmp_path, *run("there", *on(cluster)))
    try:
        until(lambda: len(set(processes(log))) == 2 and len(lines(log)) > 10, there)
        os.kill(processes(log)[0], signal.SIGKILL)
        _, told = there.communicate(timeout=120)
    finally:
        there.kill()
        there.communicate()
    assert there.returncode == 0, told
    assert "another one takes its place" in told
    assert len(lines(log)) > ROWS
    assert curate(tmp_path, *run("here")).returncode == 0
    # Requests sent, retried and paid are those of one machine, too.
    same(tmp_path, "here", "there")


def test_a_node_dies_with_its_replica(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, seconds=0.2)
    there = started(tmp_path, *run("there", *on(cluster)))
    outlives_a_node(
        cluster,
        there,
        lambda: len(set(processes(log))) == 2 and len(lines(log)) > 10,
        lambda: len(lines(log)),
    )
    assert curate(tmp_path, *run("here")).returncode == 0
    same(tmp_path, "here", "there")


def test_an_interrupt_leaves_nobody(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, seconds=1.0)
    there = started(tmp_path, *run("there", *on(cluster)))
    try:
        until(lambda: len(set(processes(log))) == 2, there)
        there.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, told = there.communicate(timeout=60)
    finally:
        there.kill()
        there.communicate()
    assert there.returncode == 130, told
    assert time.monotonic() - began < 12
    assert "Traceback" not in told
    assert gone(set(processes(log)))


def test_a_wrong_number_is_told_with_its_line(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, seconds=0.0)
    refused = curate(tmp_path, *run("there", "--set", "models.judge.replicas=0", *on(cluster)))
    assert refused.returncode == 2
    assert "recipe.yaml:4: model 'judge': " in refused.stderr
    assert "'replicas' is 0; it must be a whole number from 1 on" in refused.stderr
    assert not log.exists()
