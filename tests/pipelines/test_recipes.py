"""Every ready recipe is readable, and the quickstart does what its comments say."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from curate.data import recipes
from curate.pipeline import Pipeline
from curate.result import Result

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("kept", "used", "dropped", "failed")


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_readable_and_survives_a_round_trip(name: str) -> None:
    pipeline = Pipeline.from_yaml(recipes()[name])
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
    pipeline.check()


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
def test_every_step_of_the_quickstart_has_work(quickstart: Result) -> None:
    idle = [s["label"] for s in quickstart.summary["steps"] if not s["dropped"] + s["used"]]
    assert idle == []


@pytest.mark.slow
def test_the_quickstart_is_balanced_and_masked(quickstart: Result) -> None:
    rows = list(quickstart.kept)
    origins = Counter(json.loads(row.extra or "{}")["origin"] for row in rows)
    assert max(origins.values()) == 1000
    assert len(origins) == 6
    text = "\n".join(row.whole for row in rows)
    assert "emoore@email.com" not in text
    assert "(123) 456-7891" not in text
    assert "Vicuna" not in "\n".join(row.response for row in rows)


@pytest.mark.slow
def test_a_duplicate_of_the_quickstart_names_a_kept_row(quickstart: Result) -> None:
    dropped = {row.id: row for row in quickstart.dropped}
    life = next(life for life in map(quickstart.explain, dropped) if "near" in str(life))
    assert "near duplicate" in str(life)
