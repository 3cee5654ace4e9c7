"""Every ready recipe is readable, and the quickstart does what its comments say."""

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.pipeline import Pipeline, Result
from curate.system.package_data import recipes

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("kept", "used", "dropped", "failed")


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_readable_and_survives_a_round_trip(name: str) -> None:
    pipeline = Pipeline.from_yaml(recipes()[name])
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
    pipeline.check()


ASKING = [name for name in recipes() if Pipeline.from_yaml(recipes()[name]).models]


@pytest.mark.real
@pytest.mark.parametrize("name", ASKING)
def test_the_estimate_of_a_recipe_that_asks_is_of_some_requests(name: str, tmp_path: Path) -> None:
    pipeline = Pipeline.from_yaml(recipes()[name])
    found = pipeline.run(run=tmp_path / "run", store=tmp_path / "store", dry_run=True).summary
    assert found["estimate"]["requests"] > 0
    assert "all_failed" not in found["estimate"]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Result:
    home = tmp_path_factory.mktemp("quickstart")
    here = Path.cwd()
    os.chdir(home)
    try:
        return Pipeline.from_yaml(recipes()["quickstart"]).run(
            run=home / "run", store=home / "store"
        )
    finally:
        os.chdir(here)


@pytest.mark.slow
def test_the_quickstart_loses_no_row(quickstart: Result) -> None:
    counts = quickstart.summary
    assert counts["in"] == 4450
    assert counts["failed"] == 0
    assert counts["in"] + counts["made"] == sum(counts[name] for name in OUTCOMES)
    assert all(counts[name] == len(getattr(quickstart, name)) for name in OUTCOMES)
    ids = [row.id for name in OUTCOMES for row in getattr(quickstart, name)]
    assert len(set(ids)) == len(ids) == counts["in"] + counts["made"]


@pytest.mark.slow
def test_the_quickstart_ends_in_a_file(quickstart: Result) -> None:
    output = quickstart.folder.parent / "runs" / "quickstart.sft.jsonl"
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == quickstart.summary["kept"]
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)


@pytest.mark.slow
def test_every_step_of_the_quickstart_has_work(quickstart: Result) -> None:
    idle = [s["label"] for s in quickstart.summary["steps"] if not s["dropped"] + s["used"]]
    assert idle == []


@pytest.mark.slow
def test_the_quickstart_is_balanced_and_masked(quickstart: Result) -> None:
    rows = list(quickstart.kept)
    origins = Counter(json.loads(row.extra or "{}")["origin"] for row in rows)
    assert max(origins.values()) == 1000
    assert len(origins) == 7
    text = "\n".join(row.whole for row in rows)
    assert "@email.com" not in text
    assert "[EMAIL]" in text
    assert "650-636-4884" not in text
    assert "Vicuna" not in "\n".join(row.response for row in rows)


@pytest.mark.slow
def test_a_duplicate_of_the_quickstart_names_a_row_that_near_kept(quickstart: Result) -> None:
    files = sorted((quickstart.folder / "ledger" / "near").glob("*.parquet"))
    lines = [line for path in files for line in pq.read_table(path).to_pylist()]
    dropped = {line["row"] for line in lines if line["outcome"] == "dropped"}
    assert dropped
    for line in lines:
        if line["outcome"] == "dropped":
            assert line["partner"] not in dropped
            assert line["score"] >= 0.8
    life = quickstart.explain(min(dropped).hex())
    assert life.outcome == "dropped"
    assert life.events[-1]["reason"] == "near duplicate"
    assert len(life.partners) == 1
