"""The command line as a user has it: a real process in an empty folder, with some data."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.cli.main import app
from tests.house.places import ROOT

Done = subprocess.CompletedProcess[str]
Curate = Callable[..., Done]

STEPS = '''
"""A judge that asks, and a sleeper, for tests of the command line."""

import time
from dataclasses import dataclass

from curate.ask import Ask
from curate.row import Row
from curate.step import Filter, rule


@dataclass(frozen=True, kw_only=True)
class Judge(Filter):
    """Ask for a number."""

    model: str = "judge"
    at_least: float | None = rule(3.0)

    def score(self, row: Row):
        reply = yield Ask.text("Grade: " + row.whole, model=self.model, max_tokens=8)
        return float(reply.text)

    def keep(self, score):
        return None if score >= self.at_least else f"below {self.at_least:g}"


@dataclass(frozen=True, kw_only=True)
class Sleeper(Filter):
    """Sleep, so that somebody can interrupt."""

    seconds: float = 30.0

    def score(self, row: Row) -> float:
        print("asleep", flush=True)
        time.sleep(self.seconds)
        return 0.0

    def keep(self, score):
        return None


@dataclass(frozen=True, kw_only=True)
class Stumble(Filter):
    """Fail on rows that hold a word."""

    word: str = "bad"

    def score(self, row: Row) -> float:
        if self.word in row.whole:
            raise RuntimeError("stumbled over " + self.word)
        return 0.0

    def keep(self, score):
        return None
'''
POINTS = """[curate.steps]
judge = cli_steps:Judge
sleeper = cli_steps:Sleeper
stumble = cli_steps:Stumble
"""
ROWS = [
    {"instruction": "Name a colour.", "output": "Red is a colour of the rainbow."},
    {"instruction": "Name a town.", "output": "Paris."},
    {"instruction": "Name a colour!", "output": "Blue is a colour of the sky above."},
    {"instruction": "Name a bad thing.", "output": "A bad thing is war \u001b[31mred."},
]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the steps above are installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "cli_steps.py").write_text(STEPS)
    info = folder / "cli_steps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cli-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    # Before what is installed comes the checkout of these tests.
    path = os.pathsep.join((str(folder), str(ROOT)))
    return {**kept, "PYTHONPATH": path, "COLUMNS": "100"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `rows.jsonl` and a recipe, which is also the working folder."""
    # Whatever the terminal is in which the tests run.
    monkeypatch.setenv("COLUMNS", "100")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines)
    (tmp_path / "recipe.yaml").write_text("inputs: rows.jsonl\nsteps:\n- length:\n    min: 3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def process(home: Path, environment: dict[str, str]) -> Curate:
    """Run `curate ARGUMENTS` in a process of its own."""

    def run(*arguments: str, **options: Any) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "curate.cli", *arguments],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def curate(home: Path) -> Callable[..., Any]:
    """Run `curate ARGUMENTS` in this process; the result has exit_code, stdout and stderr."""
    from typer.testing import CliRunner

    def run(*arguments: str | Path) -> Any:
        return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="curate")

    return run


def good(done: Any) -> str:
    """Return the output of a command that succeeded."""
    assert done.exit_code == 0, done.output
    return str(done.stdout)


@pytest.fixture
def ok(curate: Callable[..., Any]) -> Callable[..., str]:
    """Run a command that must succeed, and return what it printed."""
    return lambda *arguments: good(curate(*arguments))


def lines_of(path: Path) -> Sequence[Any]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
