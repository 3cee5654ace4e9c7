"""Promise 2 under SIGKILL: any instant, any phase; the same command ends in the same bytes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.store.store import Store

from .conftest import fingerprint
from .contract_steps import judge_script, write_script, writer_script

CHILD = Path(__file__).with_name("crash_child.py")
ROWS = 150
# How many calls of each phase an undisturbed run makes at least: instants are drawn below that.
PHASES = {
    "asking": {"reading": 1, "store commit": 40, "writing": 10, "rename": 5, "replace": 3},
    "trial": {"reading": 1, "store commit": 40, "writing": 6, "rename": 5, "replace": 3},
    "growing": {
        "reading": 1,
        "store commit": 10,
        "round": 8,
        "writing": 3,
        "rename": 5,
        "replace": 3,
    },
}


def child(folder: Path, **plan: Any) -> subprocess.Popen[bytes]:
    plan = {"rows": ROWS, "phase": None, **plan}
    return subprocess.Popen([sys.executable, str(CHILD), str(folder), json.dumps(plan)])


def prepare(folder: Path) -> Path:
    folder.mkdir()
    write_script(folder / "judge.jsonl", judge_script(ROWS))
    write_script(folder / "writer.jsonl", writer_script(ROWS))
    return folder


def committed(folder: Path) -> set[str]:
    if not (folder / "store" / "store.db").exists():
        return set()
    with Store.open(folder / "store") as store:
        return {exchange.key for exchange in store.exchanges()}


def sent(folder: Path) -> list[str]:
    path = folder / "sent.log"
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "kills"), [("asking", 50), ("trial", 15), ("growing", 20)])
def test_a_killed_run_ends_in_the_same_bytes(
    recipe: str, kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = prepare(tmp_path / "calm")
    process = child(calm, recipe=recipe)
    assert process.wait(120) == 1  # rows fail for good, by the script
    want = fingerprint(calm / "run")
    assert want
    dice, spread, number = random.Random(f"{recipe} crashes"), Counter[str](), 0
    wanted = {*PHASES[recipe], "any time"}
    while sum(spread.values()) < kills or set(spread) != wanted:
        assert number < 10 * kills, f"some phase is never reached: {spread}"
        folder = prepare(tmp_path / f"{number}")
        for phase in rotated(recipe, number):
            number += 1
            paid, before = committed(folder), len(sent(folder))
            killed = kill_once(folder, recipe, dice, phase)
            assert not paid & set(sent(folder)[before:]), "a committed reply was asked again"
            if not killed:
                # What an earlier run had paid is not committed again: the instant never came.
                break
            spread[phase] += 1
        paid, before = committed(folder), len(sent(folder))
        assert child(folder, recipe=recipe).wait(120) == 1
        assert not paid & set(sent(folder)[before:]), "a committed reply was asked again"
        assert fingerprint(folder / "run") == want
        assert not list(folder.rglob("*.tmp"))
    with capsys.disabled():
        print(f"\n{recipe}: killed {sum(spread.values())} times, at {dict(sorted(spread.items()))}")


def rotated(recipe: str, number: int) -> list[str]:
    """Return five phases for one folder, another one first each time."""
    phases = [*PHASES[recipe], "any time"]
    start = number % len(phases)
    return (phases[start:] + phases[:start])[:5]


def kill_once(folder: Path, recipe: str, dice: random.Random, phase: str) -> bool:
    """Kill one run, at a drawn call of a phase or at a drawn time; tell whether it died."""
    if phase == "any time":
        process = child(folder, recipe=recipe)
        time.sleep(dice.uniform(0.2, 0.9))
        process.kill()
        return process.wait(120) == -signal.SIGKILL
    call = dice.randint(1, PHASES[recipe][phase])
    process = child(folder, recipe=recipe, phase=phase, call=call, after=dice.random() < 0.5)
    return process.wait(120) == -signal.SIGKILL
