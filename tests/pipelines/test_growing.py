"""The recipes that make rows of seeds and of plans, as they are, with scripted replies."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from curate.pipeline import Pipeline, Result
from curate.system.package_data import recipes
from tests.engine.conftest import assert_conserved

WORDS = ("oak", "elm", "fir", "ash", "yew", "box", "bay")


def run(name: str, home: Path, replies: list[dict[str, Any]], **changes: Any) -> Result:
    """Run a ready recipe whose model answers by a file."""
    script = home / "replies.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in replies))
    pipeline = Pipeline.from_yaml(recipes()[name])
    pipeline = dataclasses.replace(
        pipeline, models={"writer": f"scripted:{script}"}, outputs={}, **changes
    )
    result = pipeline.run(run=home / "run", store=home / "store")
    assert_conserved(result)
    return result


def test_self_instruct_keeps_the_seeds_beside_new_rows(tmp_path: Path) -> None:
    # Every request gets the same list: seven tasks are new, and then nothing is.
    tasks = "\n".join(
        f"{number}. {' '.join(f'{word}{k}' for k in range(5))}"
        for number, word in enumerate(WORDS, 9)
    )
    replies = [
        {"when": {"contains": ["Task: Oak0", "Yes or No"]}, "reply": "Yes"},
        {"when": {"contains": "Yes or No"}, "reply": "No"},
        {"when": {"contains": "Task: Oak0"}, "reply": " a\nSentence: x\nClass label: b\nText: y"},
        {"when": {"contains": "Task: Elm0"}, "reply": "Input: x\nOutput: x"},
        {"when": {"contains": "Example 1"}, "reply": "Input: x\nOutput: y\nExample 2\nOutput: z"},
        {"when": {}, "reply": tasks},
    ]
    result = run("self_instruct", tmp_path, replies)
    assert result.exit_code == 4  # 7 of 30
    steps = {step["label"]: step for step in result.summary["steps"]}
    assert steps["self_instruct"]["made"] - steps["self_instruct"]["dropped"] == 7
    assert steps["instances"]["reasons"] == {"input and output are equal": 1}
    kept = [json.loads(row.extra or "{}") for row in result.kept]
    assert len(kept) == 175 + 2 + 5 * 2
    assert Counter(row.get("is_classification", False) for row in kept) == {True: 28, False: 159}


def test_attributes_are_met_and_shown(tmp_path: Path) -> None:
    replies = [
        {"when": {"contains": "Write one short question"}, "reply": "Why?"},
        {"when": {}, "reply": "Because."},
    ]
    result = run("attributes", tmp_path, replies)
    assert result.summary["kept"] == 32
    figures = result.summary["figures"]
    made = figures["cell_coverage"]
    assert made["subject=cooking"] == figures["attributes"]["subject=cooking"] == 16
    assert made["subject/detail=cooking/soup"] in (5, 6)
    planned = {**figures["attributes"], **figures["styles"]}
    assert {name: planned.get(name) for name in made} == made
    systems = Counter(row.messages[0].content for row in result.kept)
    assert systems == {"Answer in two sentences.": 16, "Answer as a short list.": 16}
