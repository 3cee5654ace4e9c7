"""The recipes that ask a model: as they are with scripted replies, and once with a real model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.pipeline import Pipeline, Result
from curate.system.package_data import recipes
from tests.models.providers.test_local import NEEDS_LOCAL

OUTCOMES = ("kept", "used", "dropped", "failed")
# The first line that fits answers. The last line of a prompt is completed: " 4".
MARKS = [
    {"when": {"contains": "how many"}, "reply": " 4"},
    {"when": {"contains": "How many"}, "reply": "5\n"},
    {"when": {"contains": "How much"}, "reply": " 2"},
    {"when": {"contains": "Natalia"}, "reply": " a lot"},
    {"when": {"contains": "cost"}, "reply": " 10"},
    {"when": {}, "reply": " 3", "usage": {"input_tokens": 200, "output_tokens": 2}},
]


def script(home: Path, lines: list[dict[str, Any]]) -> str:
    path = home / "replies.jsonl"
    home.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"scripted:{path}"


def run(name: str, home: Path, folder: str = "run", **changes: Any) -> Result:
    """Run a ready recipe on its own inputs, with other models or steps."""
    pipeline = dataclasses.replace(Pipeline.from_yaml(recipes()[name]), **changes)
    return pipeline.run(run=home / folder, store=home / "store", allow_failed=1.0)


def check_that_no_row_is_lost(result: Result) -> dict[str, Any]:
    counts = result.summary
    assert counts["in"] + counts["made"] == sum(counts[name] for name in OUTCOMES)
    ids = [row.id for name in OUTCOMES for row in getattr(result, name)]
    assert len(set(ids)) == len(ids) == counts["in"] + counts["made"]
    return counts


def check_that_only_cut_answers_failed(result: Result) -> None:
    files = result.failed.files()
    errors = [row["error"] for path in files for row in pq.read_table(path).to_pylist()]
    assert len(errors) == result.summary["failed"]
    assert all("cut off at max_tokens" in error for error in errors)


def test_judge_asks_once_for_each_of_500_rows(tmp_path: Path) -> None:
    models = {"judge": script(tmp_path, MARKS)}
    result = run("judge", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"] == {"sent": 500, "replayed": 0, "failed": 0, "retried": 0}
    marks = {row.scores["rubric"] for row in result.kept}
    assert marks == {3.0, 4.0, 5.0}
    step = next(step for step in counts["steps"] if step["label"] == "rubric")
    assert step["in"] == 500
    assert set(step["reasons"]) == {"rated below 3"}
    assert 0 < counts["failed"] == step["failed"]
    # What the recipe's comment and its page promise: another limit asks nothing.
    lower = [
        dataclasses.replace(step, at_least=2) if step.name == "rubric" else step
        for step in Pipeline.from_yaml(recipes()["judge"]).steps
    ]
    loose = run("judge", tmp_path, "loose", models=models, steps=lower)
    again = check_that_no_row_is_lost(loose)
    assert again["requests"]["sent"] == 0
    assert again["requests"]["replayed"] == 500
    assert again["kept"] == counts["kept"] + step["reasons"]["rated below 3"]


def test_judge_with_the_settings_for_a_real_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"rationale": "Right, and no longer than it must be.", "score": 9}'
    model = script(
        tmp_path,
        [
            {"when": {"contains": "how many"}, "reply": '{"rationale": "Wrong.", "score": 2}'},
            {"when": {"contains": "That reply cannot be used"}, "reply": good},
            {"when": {"contains": "How many"}, "reply": "9 or 10"},
            {"when": {}, "reply": good},
        ],
    )
    # The options of the recipe's comment.
    settings = ["prompt=helpfulness", "complete=false", "max_tokens=200", "at_least=7"]
    options = [part for text in settings for part in ("--set", f"steps.rubric.{text}")]
    command = ["run", "judge", "--set", f"models.judge={model}", *options, "-o", "real"]
    done = CliRunner().invoke(app, [*command, "--set", "steps.sample.count=60"])
    assert done.exit_code == 0, done.output
    result = Result.open(tmp_path / "real")
    counts = check_that_no_row_is_lost(result)
    assert {row.scores["rubric"] for row in result.kept} == {9.0}
    assert counts["failed"] == 0
    # Some were asked a second time, because their first reply gave no certain mark.
    assert counts["requests"]["sent"] > 60


def test_respond_makes_a_ranked_row_of_two_answers(tmp_path: Path) -> None:
    replies = [
        {"when": {"contains": "movie"}, "reply": "It goes on and", "finish_reason": "length"},
        {"when": {}, "reply": ["The first answer.", "The second one."]},
    ]
    result = run("respond", tmp_path, models={"writer": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] == 2 * 20
    assert counts["kept"] == counts["made"] == counts["used"]
    assert counts["kept"] + counts["failed"] == 20
    prompts = {row.id: row.prompt for row in result.used}
    for row in result.kept:
        assert row.kind == "ranked"
        assert row.fields["prompt"] == prompts[row.parents[0]]
        assert [c.messages[0].content for c in row.fields["candidates"]] == [
            "The first answer.",
            "The second one.",
        ]
        assert {c.model for c in row.fields["candidates"]} == {"writer"}
    assert counts["failed"] > 0
    check_that_only_cut_answers_failed(result)


def test_magpie_makes_a_conversation_of_every_blank_row(tmp_path: Path) -> None:
    replies = [
        {"when": {"contains": "What is rust?"}, "reply": "Iron oxide."},
        {"when": {}, "reply": "What is rust?"},
    ]
    result = run("magpie", tmp_path, models={"writer": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    # A model that always writes the same is seen through, before its answers are paid for.
    assert (counts["in"], counts["made"], counts["requests"]["sent"]) == (40, 41, 41)
    assert counts["kept"] == 1
    assert [turn.content for turn in next(iter(result.kept)).messages] == [
        "What is rust?",
        "Iron oxide.",
    ]


def test_tag_counts_labels_in_the_report(tmp_path: Path) -> None:
    models = {"judge": script(tmp_path, [{"when": {}, "reply": "B"}])}
    result = run("tag", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] == 5 * 30
    figures = counts["figures"]["tag"]
    assert figures["quality: poor"] == figures["use_case: open qa"] == counts["kept"] == 30
    assert figures["prompt_kind: few-shot"] == 30


def smaller(name: str, **fields: Any) -> tuple[Any, ...]:
    """Return the steps of a ready recipe with other values, given by the name of their step."""
    return tuple(
        dataclasses.replace(step, **fields.get(step.name, {}))
        for step in Pipeline.from_yaml(recipes()[name]).steps
    )


@pytest.mark.slow
@pytest.mark.real
@NEEDS_LOCAL
def test_both_run_on_the_embedded_model(tmp_path: Path) -> None:
    steps = smaller("judge", sample={"count": 6})
    judged = run("judge", tmp_path, "judged", steps=steps)
    counts = check_that_no_row_is_lost(judged)
    assert counts["requests"]["sent"] == 6
    assert {row.scores["rubric"] for row in judged.kept} <= {3.0, 4.0, 5.0}
    steps = smaller("respond", sample={"count": 2}, respond={"max_tokens": 32})
    answered = run("respond", tmp_path, "answered", steps=steps)
    counts = check_that_no_row_is_lost(answered)
    assert counts["requests"]["sent"] == 4
    for row in answered.kept:
        assert all(c.messages[0].content.strip() for c in row.fields["candidates"])
    check_that_only_cut_answers_failed(answered)
