"""`curate run -o ADDRESS` and runs at addresses in the place of RUN, as users have them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate.pipeline import Result
from curate.runs.folder import RunFolder
from curate.runs.spending import folder_spent
from tests.models.chaos import Server, chat

WHERE = "memory://b/runs/judged"
FLAGS = ("--price", "1,2", "--max-tokens", "30")


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    before = signal.getsignal(signal.SIGTERM)
    system = fsspec.filesystem("memory")
    yield system
    signal.signal(signal.SIGTERM, before)
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda received: chat("Score: 8", tokens=(100, 10))) as served:
        yield served


@pytest.fixture
def machine(home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Go to another machine: a folder with the recipe and its rows, and nothing else."""
    (home / "judge.yaml").write_text(
        "inputs: rows.jsonl\nsteps:\n- rubric: {at_least: 5, model: judge}\n"
        f"models: {{judge: {{model: 'openai:judge', base_url: '{server.url}'}}}}\n"
    )

    def go(name: str) -> Path:
        there = home / name
        if not there.exists():
            there.mkdir()
            for file in ("rows.jsonl", "judge.yaml"):
                shutil.copy(home / file, there)
        monkeypatch.chdir(there)
        return there

    return go


def sent(report: str) -> int:
    return int(json.loads(report)["requests"]["sent"])


def test_a_stopped_run_goes_on_elsewhere_and_pays_for_nothing_twice(
    curate: Callable[..., Any], ok: Callable[..., str], machine: Any, server: Server
) -> None:
    first = machine("a")
    stopped = curate("run", "judge.yaml", "-o", WHERE, *FLAGS, "--max-requests", "2")
    assert stopped.exit_code == 3, stopped.output
    assert len(server.received) == 2
    assert "was stopped before its end" in ok("report", WHERE)
    assert "2 sent" in ok("report", WHERE)
    assert not (first / ".curate").exists()
    # Its machine is gone; another has the recipe and the rows.
    second = machine("b")
    plan = json.loads(ok("run", "judge.yaml", "-o", WHERE, *FLAGS, "--dry-run"))
    assert plan["estimate"]["replayed"] == 2
    ok("run", "judge.yaml", "-o", WHERE, *FLAGS)
    assert len(server.received) == 4
    assert sent(ok("report", WHERE, "--json")) == 4
    assert (second / "runs" / "judged.store" / "store.db").is_file()
    # What a row was asked is in the store that went along.
    row = json.loads((second / "rows.jsonl").read_text().splitlines()[1])["instruction"]
    shown = ok("explain", WHERE, "rows.jsonl:2", "--full")
    assert row in shown and "Score: 8" in shown
    # Other rules, on a third machine, in a fetched folder and without its store being named.
    third = machine("c")
    said = ok("export", WHERE, "--as", "run", "-o", "mine")
    assert "run written to mine: " in said and "of them its store" in said
    more = ("--set", "steps.rubric.at_least=9", "--replace")
    ok("run", "judge.yaml", "-o", "mine", *FLAGS, *more)
    assert len(server.received) == 4
    assert json.loads(ok("report", "mine", "--json"))["dropped"] == 4
    assert folder_spent(RunFolder(third / "mine"), third / "mine.store").sent == 4
    # Other rules from Python, too; the spending that both share goes along with one of them.
    other = Result.open("mine").rethreshold(rubric=8.5)
    assert len(other.dropped) == 4 and len(server.received) == 4
    ok("export", other.folder, "--as", "run", "-o", "memory://b/runs/other")
    assert sent(ok("report", "memory://b/runs/other", "--json")) == 4
    ok("export", "memory://b/runs/other", "--as", "run", "-o", "fourth")
    assert folder_spent(RunFolder(third / "fourth"), third / "fourth.store").sent == 4
    # The first machine comes back: its copy is older than what is published.
    machine("a")
    refused = curate("run", "judge.yaml", "-o", WHERE, *FLAGS)
    assert refused.exit_code == 2
    assert "an older copy, than what is published" in " ".join(refused.stderr.split())
    assert len(server.received) == 4


def test_a_run_whose_store_stayed_behind_does_not_pay_unasked(
    curate: Callable[..., Any], ok: Callable[..., str], machine: Any, server: Server
) -> None:
    machine("a")
    ok("run", "judge.yaml", "-o", "runs/own", *FLAGS)
    ok("export", "runs/own", "--as", "run", "-o", WHERE, "--without-store")
    machine("b")
    for output in (WHERE, "mine"):
        if output == "mine":
            ok("export", WHERE, "--as", "run", "-o", "mine")
        refused = curate("run", "judge.yaml", "-o", output, *FLAGS, "--retry-failed")
        assert refused.exit_code == 2
        assert "--pay-again" in refused.stderr
    assert len(server.received) == 4
    ok("run", "judge.yaml", "-o", "mine", *FLAGS, "--pay-again")
    assert len(server.received) == 8
    assert sent(ok("report", "mine", "--json")) == 8


def test_a_run_with_another_store_is_not_begun_anew(
    curate: Callable[..., Any], ok: Callable[..., str], machine: Any, server: Server
) -> None:
    here = machine("a")
    ok("run", "judge.yaml", "-o", "runs/judged", *FLAGS)
    for _ in range(2):
        refused = curate("run", "judge.yaml", "-o", WHERE, *FLAGS)
        assert refused.exit_code == 2
        assert f"--store {here}/.curate" in " ".join(refused.stderr.split()).replace("- ", "-")
        ok("export", "runs/judged", "--as", "run", "-o", WHERE)
    machine("b")
    ok("run", "judge.yaml", "-o", WHERE, *FLAGS)
    assert len(server.received) == 4
    # Another purpose under the same name: the commands that are named are right.
    more = ("--set", "steps.rubric.at_least=9")
    taken = curate("run", "judge.yaml", "-o", WHERE, *FLAGS, *more)
    assert taken.exit_code == 2 and "--replace" in taken.stderr


def test_every_command_takes_a_run_at_an_address(
    curate: Callable[..., Any], ok: Callable[..., str], home: Path
) -> None:
    where = "memory://b/runs/one"
    said = curate("run", "recipe.yaml", "-o", where)
    assert f"published at {where}" in said.stderr
    assert not list((home / "runs").glob("*.store"))
    ok("export", "runs/one", "--as", "run", "-o", "memory://b/runs/two")
    assert "3 kept" in ok("report", where)
    assert "fewer than 3 words" in ok("explain", where)
    same = json.loads(ok("compare", where, "memory://b/runs/two", "--json"))
    assert same["counts"]["kept"] == [3, 3]
    ok("export", where, "-o", "rows-there.jsonl", "--marks")
    ok("export", "runs/one", "-o", "rows-here.jsonl", "--marks")
    assert (home / "rows-there.jsonl").read_bytes() == (home / "rows-here.jsonl").read_bytes()
    ok("filter", where, "length:min=2", "-o", "more.jsonl")
    absent = curate("report", "memory://b/none")
    assert absent.exit_code == 2 and "no run is published here" in absent.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "recipe.yaml", "-o", "s3://KEY:hushhush@b/r"), "must not hold credentials"),
        (("run", "recipe.yaml", "-o", "memory://b/r", "--store", "s"), "leave out --store s"),
        (("run", "recipe.yaml", "--run", "memory://b/r"), "curate run RECIPE -o ADDRESS"),
        (("report", "s3://KEY:hushhush@b/r"), "must not hold credentials"),
        (("export", "none", "--as", "run", "-o", "s3://K:hushhush@b/r"), "credentials"),
        (("export", "none", "--as", "run", "-o", "x", "--marks"), "--as run copies a whole run"),
        (("export", "none", "--as", "run", "-o", "x"), "none holds no run"),
        (("export", "rows.jsonl", "-o", "x.jsonl", "--without-store"), "is for --as run"),
    ],
)
def test_what_is_refused_leaves_nothing(
    curate: Callable[..., Any], home: Path, words: tuple[str, ...], said: str
) -> None:
    before = sorted(home.rglob("*"))
    refused = curate(*words)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    assert "hush" not in refused.output
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_run_is_published_when_its_machine_is_taken_away(
    home: Path, environment: dict[str, str], ok: Callable[..., str], stop: int
) -> None:
    (home / "slow.yaml").write_text("inputs: rows.jsonl\nsteps: [sleeper]\n")
    where = f"file://{home}/there/slow"
    command = [sys.executable, "-m", "curate.cli", "run", "slow.yaml", "-o", where]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "asleep\n"
    time.sleep(0.2)
    child.send_signal(stop)
    with child:
        assert child.wait(20) == 130
    assert "was stopped before its end" in ok("report", where)
