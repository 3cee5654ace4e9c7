"""Operators of third parties, found by entry points: killed, replayed, explained, foreseen, shown.

Each twin is a recipe of a method from the literature with plugins for its steps. What holds for one
of them must hold for all, so the tests below go over all twins.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from curate import Pipeline
from curate.cli.main import app
from curate.recipe import catalog
from curate.store.store import Store

from .conftest import assert_conserved, fingerprint
from .contract_steps import write_script

CHILD = Path(__file__).with_name("crash_child.py")
ROOT = Path(__file__).parents[2]
POINTS = {"samples": "Samples", "rated": "Rated", "best_answer": "BestAnswer",
          "critique": "Critique", "pairwise": "Pairwise", "shots": "Shots",
          "two_steps": "TwoSteps", "rated_best": "RatedBest"}  # fmt: skip


def said(text: str, reply: Any, **more: Any) -> dict[str, Any]:
    return {"when": {"messages": [{"role": "user", "content": text}]}, "reply": reply, **more}


# -- the recipes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Twin:
    """A recipe, the rows and replies it needs, and a rule to change with nothing asked anew."""

    steps: tuple[dict[str, Any], ...]
    row: Callable[[int], dict[str, Any]]
    replies: Callable[[int], Iterable[dict[str, Any]]]
    change: dict[str, Any]
    count: int = 40
    failed: int = 0
    # What a preview of its first rows shows besides the labels.
    shown: tuple[str, ...] = ()

    def write(self, folder: Path, count: int | None = None) -> Path:
        """Write recipe, rows and replies, and the distribution that names the plugins."""
        count = count or self.count
        folder.mkdir(exist_ok=True)
        rows = (json.dumps(self.row(n)) + "\n" for n in range(count))
        (folder / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
        write_script(folder / "replies.jsonl", self.replies(count))
        scripted = {"model": "scripted:replies.jsonl", "identity": "replies"}
        models = {"writer": scripted, "judge": scripted, "reward": {"model": "last_number:x"}}
        used = {"writer", "judge"} if "rated" not in str(self.steps) else set(models)
        recipe = {"inputs": "rows.jsonl", "steps": list(self.steps),
                  "models": {name: models[name] for name in sorted(used)}}  # fmt: skip
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return folder


def critique_replies(count: int) -> Iterable[dict[str, Any]]:
    for n in range(count):
        about = f"question {n} answer {n}"
        yield said(f"Criticise: {about}", f"{n} is short")
        # Every fifth revision repeats the one before it, and one is none.
        words = f"a b c d e f {n - 1 if n % 5 == 4 else n}"
        revised = "no" if n == 7 else f"better {words}"
        yield said(f"Revise: {about} Since {n} is short", revised)


def pairwise_replies(count: int) -> Iterable[dict[str, Any]]:
    """Judge as the literature's judges do: in every third pair the first place wins."""
    for n in range(count):
        for order in ("good bad", "bad good"):
            one, other = order.split()
            first_wins = n % 3 == 0 or one == ("good" if n % 4 else "bad")
            chance = 0.6 + 0.3 * (n % 10) / 10
            values = [math.log(chance), math.log(1 - chance)]
            text = f"question {n}\nA: {one} {n}\nB: {other} {n}\n"
            values = values if first_wins else values[::-1]
            yield {**said(f"{text}Which is better?", None), "values": values}
            third = [math.log(0.7), math.log(0.3)]
            yield {**said(f"{text}They seem alike. Which is better?", None), "values": third}


def best_replies(count: int) -> Iterable[dict[str, Any]]:
    for n in range(count):
        # The answers' numbers are their rewards; that of 53 cannot be scored.
        if n == 3:
            yield said(f"question {n}", "bad", sample=2)
        texts = [f"answer {n * 10 + k * (1 + n % 3)}" for k in range(5)]
        yield said(f"question {n}", texts)
        for text in texts:
            yield said(f"Rate this: {text}", str(n % 7))


def shots_replies(count: int) -> Iterable[dict[str, Any]]:
    yield {"when": {}, "reply": "a composed task", "usage": {"output_tokens": 4}}


def growth_replies(count: int) -> Iterable[dict[str, Any]]:
    for n in range(1000):
        yield said(f"a topic, {n};", f"topic {n}")
        yield said(f"a task about topic {n}", "bad" if n % 25 == 3 else f"task {n}")


def asked(n: int) -> dict[str, Any]:
    return {"prompt": f"question {n}"}


def answered(n: int) -> dict[str, Any]:
    return {"instruction": f"question {n}", "output": f"answer {n}"}


def compared(n: int) -> dict[str, Any]:
    return {"prompt": f"question {n}", "chosen": f"good {n}", "rejected": f"bad {n}"}


TWINS = {
    "critique": Twin(
        ({"critique": {}}, {"near": {"only": ["sft"], "on": "response", "similarity": 0.9}}),
        answered, critique_replies, {"near": {"similarity": 0.3}}, failed=1,
        shown=("better a b c d e f 0", "[chosen]"),
    ),
    "pairwise": Twin(
        ({"pairwise": {"at_least": -9.0}},), compared, pairwise_replies, {"pairwise": 0.5},
        shown=("good 0", "passed"),
    ),
    "best-of-5": Twin(
        ({"samples": {}}, {"rated": {}}, {"best_answer": {"by": "rated"}},
         {"rated_best": {"at_least": 2.0}}),
        asked, best_replies, {"best_answer": 5.0}, failed=2 + 4 + 4,
        shown=("answer 4", "answer 2 of 5"),
    ),
    "few-shot": Twin(
        ({"shots": {"group_size": 50}}, {"respond": {"model": "writer", "max_tokens": 16}},
         {"length": {"min": 1}}),
        asked, shots_replies, {"length": {"min": 9}}, count=1500, shown=("a composed task",),
    ),
    "grow": Twin(
        ({"two_steps": {"target": 60, "topics": 1000, "bad": "bad"}},
         {"top": {"count": 50, "by": "two_steps"}}),
        asked, growth_replies, {"top": {"count": 30}}, count=5, failed=-1, shown=("task",),
    ),
    "reward": Twin(
        ({"rated": {"at_least": 5.0}},), answered, lambda count: [said("x", "y")],
        {"rated": 30.0}, count=60, failed=1, shown=("reward below 5.0",),
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution whose entry points name the twins' steps and model."""
    folder = tmp_path_factory.mktemp("plugins")
    info = folder / "trials-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trials\nVersion: 1.0\n")
    steps = [f"{name} = tests.engine.trial_steps:{attr}" for name, attr in POINTS.items()]
    lines = ["[curate.steps]", *steps, "[curate.models]",
             "last_number = tests.engine.trial_steps:LastNumber"]  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(params=TWINS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def twin(
    name: str, plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterable[Twin]:
    monkeypatch.syspath_prepend(str(plugins))
    importlib.invalidate_caches()
    catalog.operators.cache_clear()
    monkeypatch.chdir(TWINS[name].write(tmp_path / "work"))
    yield TWINS[name]
    catalog.operators.cache_clear()


def go(folder: str = "run", **options: Any) -> Any:
    return Pipeline.from_yaml("recipe.yaml").run(run=folder, store="store", **options)


# -- what holds for each ---------------------------------------------------------------------------


def test_a_twin_is_foreseen_conserved_and_replayed(twin: Twin) -> None:
    expected = go(dry_run=True).summary["estimate"]
    result = go(allow_failed=1.0)
    sent = result.summary["this_time"]["sent"]
    assert expected["requests"] == pytest.approx(sent, rel=0.1)
    assert result.summary["estimate"]["off"]["requests"] == pytest.approx(0, abs=0.1)
    assert_conserved(result)
    if twin.failed >= 0:
        assert result.summary["failed"] == twin.failed
    assert result.summary["kept"] > 0
    # Replay sends nothing, in the same folder and in another, and nothing is expected.
    assert go("other", dry_run=True).summary["estimate"]["requests"] == 0
    again = go("other", allow_failed=1.0)
    assert again.summary["this_time"]["sent"] == 0
    assert fingerprint(again.folder) == fingerprint(result.folder)
    # Another threshold decides anew, and asks nothing.
    other = again.rethreshold(**twin.change)
    assert other.summary["this_time"]["sent"] == 0
    assert other.summary["kept"] != result.summary["kept"]


def test_each_reply_of_a_twin_explains_a_row(twin: Twin) -> None:
    recipe = Path("recipe.yaml")
    recipe.write_text(recipe.read_text().replace("target: 60", "target: 12"))
    result = go(allow_failed=1.0, limit=8)
    explained: dict[str, Any] = {}
    for ending in ("kept", "used", "dropped", "failed"):
        for row in getattr(result, ending):
            life = result.explain(row.id)
            assert life.outcome == ending
            assert row.parents == () or life.events[0]["outcome"] == "made"
            explained |= life.exchanges
    stored = committed(Path())
    assert stored
    assert stored <= set(explained)
    for one in explained.values():
        assert one["request"], "a request that is not told"
        # Of answer 53 the reward model says nothing, whatever it is asked.
        said = one["reply"] or one.get("values") or "answer 53" in str(one["request"])
        assert said, f"a request without its reply: {one}"


def test_a_twin_is_previewed(twin: Twin) -> None:
    command = ["preview", "recipe.yaml", "-n", "3", "--store", "store", "--allow-failed", "1"]
    shown = CliRunner().invoke(app, command, prog_name="curate", env={"COLUMNS": "150"})
    assert shown.exit_code == 0, shown.output
    labels = [next(iter(step)) for step in twin.steps]
    for text in (*labels, *twin.shown):
        assert text in shown.stdout, shown.stdout


@pytest.mark.slow
def test_a_killed_twin_ends_in_the_same_bytes(
    name: str, twin: Twin, plugins: Path, tmp_path: Path
) -> None:
    """Killed around two commits, before and after; no reply that was committed is sent again."""
    count = 50_000 if name == "few-shot" else twin.count
    calm = twin.write(tmp_path / "calm", count)
    finish(calm, plugins)
    want, commits = fingerprint(calm / "run"), 4
    total = sent(calm)
    dice, killed = random.Random(name), 0
    for number, after in enumerate((False, True)):
        folder = twin.write(tmp_path / f"killed{number}", count)
        plan = {"phase": "store commit", "call": dice.randint(1, commits), "after": after}
        killed += child(folder, plugins, **plan).wait(120) == -signal.SIGKILL
        paid = committed(folder)
        finish(folder, plugins)
        assert sent(folder) == total - len(paid), "a committed reply was asked again, or none was"
        assert fingerprint(folder / "run") == want
    assert killed, "no instant was met"


def child(folder: Path, plugins: Path, **plan: Any) -> subprocess.Popen[bytes]:
    plan = {"recipe": "twin:", "phase": None, **plan}
    path = os.pathsep.join([str(plugins), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(CHILD), str(folder), json.dumps(plan)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def finish(folder: Path, plugins: Path) -> None:
    """Run to the end; rows that fail by the script make the exit code 1."""
    assert child(folder, plugins).wait(300) in (0, 1)


def sent(folder: Path) -> int:
    """Return how many requests the last execution sent."""
    summary = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    return int(summary["this_time"]["sent"])


def committed(folder: Path) -> set[str]:
    """Return the keys of the replies that the store has."""
    if not (folder / "store" / "store.db").exists():
        return set()
    with Store.open(folder / "store") as store:
        return {exchange.key for exchange in store.exchanges()}
