"""Recipes that ask models, on a cluster: nothing answered is paid twice, and the ceiling holds."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.system.package_data import recipes
from tests.engine.contract_steps import judge_script, numbered, write_script, writer_script
from tests.house.places import ROOT
from tests.models.providers.test_local import NEEDS_LOCAL

from .conftest import TwoNodes, curate, lines, on, outlives_a_node, same, started, until
from .copying_model import CopyingModel

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
    outlives_a_node(cluster, there, lambda: len(lines(log)) > 20, lambda: len(lines(log)))
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


# The models of a ready recipe that asks, works on nodes, asks again, and works on nodes again.
LABELS = ("cold", "warm", "hot", "judge")
PLACES_OF_ONE = 2


def write_ready(folder: Path, model: CopyingModel) -> None:
    """Write `ultrafeedback` over its rows in eight files, asking `model`; it takes a second."""
    with gzip.open(ROOT / "pipelines" / "data" / "seed_tasks.jsonl.gz", "rt") as file:
        rows = file.readlines()
    (folder / "rows").mkdir()
    for number in range(8):
        (folder / "rows" / f"{number}.jsonl").write_text("".join(rows[number::8]))
    recipe = Pipeline.from_yaml(recipes()["ultrafeedback"])
    price = {"input": 1, "output": 1}
    mapping = model.mapping(folder, max_concurrency=PLACES_OF_ONE, price=price)
    warmth = {name: {"temperature": at / 4} for at, name in enumerate(LABELS)}
    models = {name: {**mapping, **warmth[name]} for name in LABELS}
    changed = dataclasses.replace(recipe, inputs={"tasks": "rows/*.jsonl"}, models=models)
    (folder / "recipe.yaml").write_text(changed.to_yaml())


def settled(folder: Path, model: CopyingModel, name: str = "here") -> Counter[str]:
    """Return what the recipe asks on one machine, once it has run there."""
    model.forget()
    done = curate(folder, *run(name))
    assert done.returncode == 0, done.stderr
    return Counter(model.asked())


def test_a_node_dies_under_a_ready_recipe(cluster: TwoNodes, tmp_path: Path) -> None:
    with CopyingModel(delay=0.05) as model:
        write_ready(tmp_path, model)
        there = started(tmp_path, *run("there", *on(cluster)))
        outlives_a_node(
            cluster, there, lambda: len(model.received) > 20, lambda: len(model.received)
        )
        sent = Counter(model.asked())
        assert sent == settled(tmp_path, model)
        assert max(sent.values()) == 1
    same(tmp_path, "here", "there")


def test_a_ready_recipe_dies_and_what_was_answered_is_not_asked_again(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    with CopyingModel(delay=0.05) as model:
        write_ready(tmp_path, model)
        killed = started(tmp_path, *run("there", *on(cluster)))
        try:
            until(lambda: len(model.received) > 60, killed)
        finally:
            killed.kill()
            killed.communicate()
        done = curate(tmp_path, *run("there", *on(cluster)))
        assert done.returncode == 0, done.stderr
        sent = Counter(model.asked())
        everything = settled(tmp_path, model)
    assert set(sent) == set(everything)
    # Those that were under way, and no others.
    assert (sent - everything).total() <= len(LABELS) * PLACES_OF_ONE
    same(tmp_path, "here", "there", spending=False)


def test_the_ceilings_hold_under_a_ready_recipe(cluster: TwoNodes, tmp_path: Path) -> None:
    with CopyingModel() as model:
        write_ready(tmp_path, model)
        first = curate(tmp_path, *run("there", "--max-requests", "25", *on(cluster)))
        assert first.returncode == 3, first.stderr
        assert "the ceiling of 25 requests" in first.stderr
        assert len(model.received) == 25
        dollars = 0.01
        second = curate(tmp_path, *run("there", "--max-cost", str(dollars), *on(cluster)))
        assert second.returncode == 3, second.stderr
        assert len(model.received) > 25
        assert model.tokens() / 1e6 <= dollars
        done = curate(tmp_path, *run("there", *on(cluster)))
        assert done.returncode == 0, done.stderr
        sent = Counter(model.asked())
        assert sent == settled(tmp_path, model)
    same(tmp_path, "here", "there", spending=False)


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
        # On a cluster it is on a node.
        assert ("loading 1 replica (1 on " in done.stderr) == bool(more)
    steps = json.loads((tmp_path / "there" / "report.json").read_text())["steps"]
    found = next(step for step in steps if step["name"] == "semantic")
    assert found["dropped"] > 0
    same(tmp_path, "here", "there")
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
