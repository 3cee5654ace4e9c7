"""The recipes of templates and of FLAN's mixture do on shipped rows what their pages say."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result
from curate.system.package_data import recipes


def run(name: str, home: Path, **options: Any) -> Result:
    pipeline = Pipeline.from_yaml(recipes()[name])
    return pipeline.run(run=home / "run", store=home / "store", **options)


@pytest.mark.slow
def test_instances_are_sizes_times_templates(tmp_path: Path) -> None:
    result = run("templates", tmp_path)
    steps = {step["label"]: step for step in result.summary["steps"]}
    sizes = {"math": (500, 4), "tasks": (427, 4), "chat": (600, 2), "pairs": (854, 2)}
    for label, (size, templates) in sizes.items():
        assert (steps[label]["used"], steps[label]["made"]) == (size, size * templates)
    assert steps["gpteacher"]["made"] == 2923
    assert (result.summary["in"], result.summary["failed"]) == (5304, 0)
    figures = result.summary["figures"]["composition"]
    assert figures["rows"] == result.summary["kept"]
    assert (figures["different source"], figures["different template"]) == (5, 14)


@pytest.mark.slow
def test_flans_mixture_has_its_shares(tmp_path: Path) -> None:
    result = run("flan", tmp_path)
    figures = result.summary["figures"]
    assert {k: v for k, v in figures["mix"].items() if k.endswith(": rows") and " / " not in k} == {
        "flan2021: rows": 800, "t0: rows": 640, "niv2: rows": 400, "cot: rows": 100,
        "dialog: rows": 60,
    }  # fmt: skip
    assert figures["invert"] == {"rows": 160, "inverted": 48, "rate": 0.3}
    rows = list(result.kept)
    # Two of them find no example that does not give them away.
    ended = [*rows, *result.dropped]
    inverted = Counter(row.source for row in ended if "inverted" in json.loads(row.extra or "{}"))
    assert inverted == {"cot": 30, "dialog": 18}
    composites = [row for row in rows if "shots" in json.loads(row.extra or "{}")]
    assert len(composites) == figures["few_shot"]["few-shot"]
    assert abs(len(composites) - len(rows) / 2) <= 8
    questions = {row.id: row.instruction for row in result.used}
    for row in composites:
        examples = row.instruction.removesuffix(questions[row.parents[0]].rstrip())
        assert examples != row.instruction
        if len(row.response.split()) > 5:
            assert row.response not in examples
    made = sum(step["made"] for step in result.summary["steps"])
    assert result.summary["made"] == made
