"""Recipes that ask models, on a cluster: nothing answered is paid twice, and the ceiling holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.engine.contract_steps import judge_script, numbered, write_script, writer_script
from tests.house.places import ROOT
from tests.models.providers.test_local import NEEDS_LOCAL
from tests.pipelines.test_asking import MARKS

from .conftest import TwoNodes, curate, lines, on, same, started, until

pytestmark = pytest.mark.slow

CONTRACT = ROOT / "tests" / "engine" / "contract_steps.py"
RECIPE = f"""
inputs: {{rows: 'rows/*.jsonl'}}
models:
  judge:
    model: scripted:judge.jsonl
    log: sent.log
    price: {{input: 1, output: 1}}
    max_concurrency: 4
  writer: {{model: 'scripted:writer.jsonl', log: sent.log, max_concurrency: 4}}
steps:
  - {CONTRACT}:Fragile: {{}}
  - {CONTRACT}:Judge: {{at_least: 2.0}}
  - {CONTRACT}:Modulo: {{divisor: 60}}
  - {CONTRACT}:TwoReplies: {{keep_parent: true}}
  - {CONTRACT}:Many: {{}}
  - {CONTRACT}:Couples: {{groups: 50}}
"""
ROWS, PLACES = 160, 8


def write(folder: Path, delay: float = 0.0, faults: bool = True) -> Path:
    """Write a recipe that asks, rows in files, and the models' replies; return the log of sends."""
    (folder / "rows").mkdir(parents=True)
    rows = numbered(ROWS)
    for file in range(8):
        text = "".join(json.dumps(row) + "\n" for row in rows[file::8])
        (folder / "rows" / f"{file}.jsonl").write_text(text)
    for name, script in (("judge", judge_script(ROWS)), ("writer", writer_script(ROWS))):
        plain = [{k: v for k, v in e.items() if k not in ("fault", "times")} for e in script]
        entries = [{**one, "delay": delay} for one in (script if faults else plain)]
        write_script(folder / f"{name}.jsonl", entries)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "sent.log"


def run(name: str, *more: str) -> list[str]:
    return ["run", "recipe.yaml", "-o", name, "--store", f"{name}.store",
            "--allow-failed", "1", *more]  # fmt: skip


def again(log: Path) -> int:
    """Return how many sends were of a request that had been sent before."""
    return sum(count - 1 for count in Counter(lines(log)).values())


def test_two_nodes_ask_as_one_machine_does(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path)
    here = curate(tmp_path, *run("here"))
    assert here.returncode == 0, here.stderr
    sent = Counter(lines(log))
    log.unlink()
    there = curate(tmp_path, *run("there", *on(cluster)))
    assert there.returncode == 0, there.stderr
    assert Counter(lines(log)) == sent
    same(tmp_path, "here", "there")


def test_a_node_dies_and_nothing_is_sent_twice(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, delay=0.2, faults=False)
    there = started(tmp_path, *run("there", *on(cluster)))
    try:
        until(lambda: len(lines(log)) > 20, there)
        cluster.tell("kill")
        _, told = there.communicate(timeout=120)
    finally:
        there.kill()
        there.communicate()
        cluster.tell("start")
    assert there.returncode == 0, told
    assert again(log) == 0
    assert curate(tmp_path, *run("here")).returncode == 0
    same(tmp_path, "here", "there")


def test_the_run_dies_and_what_was_answered_is_not_sent_again(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    log = write(tmp_path, delay=0.1, faults=False)
    killed = started(tmp_path, *run("there", *on(cluster)))
    try:
        until(lambda: len(lines(log)) > 40, killed)
    finally:
        killed.kill()
        killed.communicate()
    done = curate(tmp_path, *run("there", *on(cluster)))
    assert done.returncode == 0, done.stderr
    # Those that were under way, and no others.
    assert again(log) <= PLACES
    report = json.loads((tmp_path / "there" / "report.json").read_text())
    assert report["requests"]["sent"] >= len(lines(log))
    assert curate(tmp_path, *run("here")).returncode == 0
    same(tmp_path, "here", "there", spending=False)


def test_the_ceiling_holds(cluster: TwoNodes, tmp_path: Path) -> None:
    log = write(tmp_path, faults=False)
    first = curate(tmp_path, *run("there", "--max-requests", "50", *on(cluster)))
    assert first.returncode == 3, first.stderr
    assert "the ceiling of 50 requests" in first.stderr
    assert len(lines(log)) == 50
    # Raised, and ended on one machine: an engine is not a property of a folder.
    done = curate(tmp_path, *run("there"))
    assert done.returncode == 0, done.stderr
    assert again(log) == 0
    assert curate(tmp_path, *run("here", *on(cluster))).returncode == 0
    same(tmp_path, "here", "there", spending=False)


# Ready recipes that ask, a model of each, and its replies: the first that fits a prompt.
READY = {
    "judge": ("judge", MARKS),
    "respond": (
        "writer",
        [
            {"when": {"contains": "movie"}, "reply": "It goes on and", "finish_reason": "length"},
            {"when": {}, "reply": ["The first answer.", "The second one."]},
        ],
    ),
    "tag": ("judge", [{"when": {}, "reply": "B"}]),
}


@pytest.mark.parametrize("name", READY)
def test_ready_recipes_that_ask(name: str, cluster: TwoNodes, tmp_path: Path) -> None:
    model, replies = READY[name]
    write_script(tmp_path / "replies.jsonl", replies)
    for folder, more in (("here", []), ("there", on(cluster))):
        # A store for each: both ask for every reply.
        where = ["--run", str(tmp_path / folder), "--store", str(tmp_path / f"{folder}.store")]
        asked = ["--set", f"models.{model}=scripted:{tmp_path}/replies.jsonl"]
        done = curate(
            ROOT, "run", f"pipelines/{name}.yaml", *where, *asked, "--allow-failed", "1", *more
        )
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "there" / "report.json").read_text())
    assert report["requests"]["sent"] >= 30
    assert report["requests"]["replayed"] == 0
    same(tmp_path, "here", "there")


@pytest.mark.real
@NEEDS_LOCAL
def test_a_ready_recipe_with_the_embedded_encoder(cluster: TwoNodes, tmp_path: Path) -> None:
    for folder, more in (("here", []), ("there", on(cluster))):
        where = ["--run", str(tmp_path / folder), "--store", str(tmp_path / f"{folder}.store")]
        changes = {
            # Its own output would be taken for that of the other run.
            "outputs.sft.path": tmp_path / f"{folder}.jsonl",
            # Rows that are 0.9 close are rare among the first ones.
            "steps.semantic.similarity": 0.7,
            "steps.semantic.floor": 0.7,
        }
        fewer = ["--limit", "500", *(f"--set={name}={value}" for name, value in changes.items())]
        done = curate(ROOT, "run", "pipelines/semantic_dedup.yaml", *where, *fewer, *more)
        assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path / "there" / "report.json").read_text())["steps"]
    found = next(step for step in steps if step["name"] == "semantic")
    assert found["dropped"] > 0
    same(tmp_path, "here", "there")
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
