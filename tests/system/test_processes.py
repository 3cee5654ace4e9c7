"""Worker processes: they never run the user's script again, and take only what they can import."""

import subprocess
import sys
from pathlib import Path

import pytest

from curate.engine.segment import Segment
from curate.recipe.function import from_function
from curate.row import Row
from curate.steps.dedup.exact import Exact
from curate.steps.filters.length import Length
from curate.system.processes import can_travel

STEP = """
import os
from dataclasses import dataclass
from curate.step import Filter

@dataclass(frozen=True, kw_only=True)
class Where(Filter):
    def score(self, row):
        return float(os.getpid())

    def keep(self, score):
        return None

@dataclass(frozen=True, kw_only=True)
class Dying(Where):
    def score(self, row):
        if row.instruction == "30000":
            os._exit(9)
        return 0.0
"""
SCRIPT = """
import sys
import curate.engine.local
import curate.engine.run
from curate import Pipeline
from curate.errors import StoppedShort
from own_steps import Dying, Where

print("begun")
curate.engine.run.LARGE_BYTES = 0
curate.engine.local._WORTH_PROCESSES = -1.0

def keep(row):
    return True

rows = [{"instruction": str(n), "output": "x"} for n in range(40_000)]
steps = {"class": [Where()], "function": [keep, Where()], "dying": [Dying()]}[sys.argv[1]]
try:
    result = Pipeline(steps).run(rows, run=sys.argv[1], workers=2)
except StoppedShort as error:
    raise SystemExit(str(error))
places = {row.scores["where"] for row in result.kept}
print(result.summary["kept"], "in several" if len(places) > 1 else "in one")
"""


def run_script(folder: Path, steps: str) -> subprocess.CompletedProcess[str]:
    """Run the script, which has no guard, in a process of its own."""
    (folder / "own_steps.py").write_text(STEP)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", steps]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "places"), [("class", "in several"), ("function", "in one")])
def test_a_script_without_a_guard_is_run_once(tmp_path: Path, steps: str, places: str) -> None:
    done = run_script(tmp_path, steps)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["begun", f"40000 {places}", ""]


@pytest.mark.slow
def test_a_worker_that_dies_stops_the_run_with_advice(tmp_path: Path) -> None:
    done = run_script(tmp_path, "dying")
    assert done.returncode == 1
    assert done.stderr.startswith("a worker process ended abruptly")
    assert "--workers 1" in done.stderr


def of_this_module(row: Row) -> bool:
    return True


def test_what_can_be_imported_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_travel(Segment((Length(min=1),), Exact()))
    assert can_travel(Segment((from_function(of_this_module),), None))
    assert not can_travel(Segment((from_function(lambda row: True),), None))
    monkeypatch.setattr(of_this_module, "__module__", "__main__")
    assert not can_travel(Segment((from_function(of_this_module),), None))
