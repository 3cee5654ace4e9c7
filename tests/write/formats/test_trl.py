"""TRL's own trainers take every row that is exported for them, without a warning."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline
from curate.step import Step
from curate.steps import Aggregate, Convert, Pairs, Reviewed
from curate.write import write_rows
from tests.house.places import ROOT
from tests.write.formats.consumers import exported, lines

TASKS = {
    "sft": ("trl_sft", "sft"),
    "dpo": ("trl_dpo", "preference"),
    "reward": ("trl_reward", "preference"),
    "kto": ("trl_kto", "unpaired"),
}
TRAIN = Path(__file__).with_name("train_tiny.py")


def assert_trained(folder: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Train on each file, given with its task; every row is taken, and nothing is warned of."""
    done = subprocess.run(
        [sys.executable, TRAIN, folder, *(f"{task}={path}" for task, path in files)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"task"')]
    assert [(one["task"], one["rows"]) for one in printed] == [
        (task, len(lines(path))) for task, path in files
    ]
    assert all(math.isfinite(one["loss"]) and one["loss"] > 0 for one in printed)


@pytest.mark.slow
def test_the_trainers_take_every_row(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (make consumers)")
    assert_trained(tmp_path, [(task, exported(*names, tmp_path)) for task, names in TASKS.items()])


RANKED = [
    {"query": f"Question {n}?", "responses": [f"Yes, {n}.", "No.", ""][: 2 + n % 2],
     "scores": [1.0, 0.25, -1.0][: 2 + n % 2]}
    for n in range(6)
]  # fmt: skip
# The same lists as PRO writes them, the best answer first, after an earlier exchange.
PRO = [
    {"prefix": [["<|prompter|>Hello.", "<|assistant|>Hi.", f"<|prompter|>{one['query']}",
                 "<|assistant|>"]] * len(one["responses"]),  # type: ignore[arg-type]
     "suffix": one["responses"], "reward": one["scores"], "sft_index": 0}
    for one in RANKED
]  # fmt: skip
VOTES = [
    {"prompt": f"Question {n}?", "response_a": "Yes.", "response_b": f"No, {n} times.",
     "preference": said, "annotator": who, "country": who[0]}
    for n in range(6)
    for who, said in (("anna", "A is better"), (f"ben{n}", "B is much better"),
                      ("chen", "A is slightly better"))
]  # fmt: skip
# Every way in which preferences are made of lists and of people's votes, and turned into each form.
MADE: dict[str, tuple[list[dict[str, Any]], list[Step]]] = {
    "pairs": (RANKED, [Pairs(margin=0.1)]),
    "every pair": (RANKED, [Pairs(rejected="every", most=None)]),
    "pro": (PRO, [Pairs()]),
    "every pair of pro": (PRO, [Pairs(rejected="every", most=None)]),
    "two answers of pro": ([one for one in PRO if len(one["suffix"]) == 2], [Convert()]),
    "votes": (VOTES, []),
    "majorities": (VOTES, [Aggregate(group="country")]),
    "groups apart": (VOTES, [Aggregate(group="country", apart=True)]),
    "strengths": (VOTES, [Aggregate(method="bradley_terry"), Pairs()]),
    "there and back": (RANKED, [Pairs(), Convert(to="unpaired"), Convert(to="preference")]),
    "hindsight and back": (RANKED, [Pairs(), Convert(to="hindsight"), Convert(to="preference")]),
}


@pytest.mark.slow
def test_the_trainers_take_what_is_made_of_lists_and_of_votes(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (make consumers)")
    files = []

    def export(name: str, task: str, data: list[dict[str, Any]], steps: list[Step]) -> None:
        run = tmp_path / f"{name} {task}"
        result = Pipeline(steps).run(data, run=run)
        path = run / f"{TASKS[task][0]}.jsonl"
        assert len(result.kept) > 1
        assert not len(result.failed)
        write_rows(result.kept.tables(), path, TASKS[task][0], run=run)
        files.append((task, path))

    for name, (data, steps) in MADE.items():
        export(name, "dpo", data, steps)
        export(name, "reward", data, steps)
        if name in ("pairs", "majorities"):
            # What the forms have no place for is let go by name.
            lose = ("p_chosen", "margin")
            export(name, "kto", data, [*steps, Convert(to="unpaired", lose=lose)])
            for form in ("hindsight", "conditioned"):
                export(f"{name} {form}", "sft", data, [*steps, Convert(to=form, lose=lose)])  # type: ignore[arg-type]
    assert_trained(tmp_path, files)


LABELLED = [
    {"prompt": f"Question {n}?", "completion": f"Yes, {n}.", "label": n % 2 == 0} for n in range(6)
]
ANSWERED = [{"prompt": f"Question {n}?", "completion": f"Yes, {n}."} for n in range(6)]
# What people decide about the six rows of a kind, in turn; each form takes what is left of them.
REVIEWS: dict[str, tuple[list[dict[str, Any]], list[Step], list[tuple[str, Any]]]] = {
    "dpo": (RANKED, [Pairs()], [("chosen", "rejected"), ("chosen", "tied"), ("chosen", "chosen"),
                                ("text", "Yes, I think so."), ("drop", None), ("rating", 4)]),
    "reward": (PRO, [Pairs()], [("chosen", "rejected"), ("drop", None), ("chosen", "chosen"),
                                ("text", "Yes."), ("keep", None), ("rating", 1)]),
    "kto": (LABELLED, [], [("chosen", False), ("chosen", True), ("text", "No."), ("drop", None),
                           ("keep", None), ("rating", 2)]),
    "sft": (ANSWERED, [], [("text", "No, at least not always."), ("drop", None), ("keep", None),
                           ("rating", 2), ("text", "Perhaps."), ("keep", None)]),
}  # fmt: skip


@pytest.mark.slow
def test_the_trainers_take_what_people_decided(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (make consumers)")
    files = []
    for task, (data, steps, said) in REVIEWS.items():
        ids = [row.id for row in Pipeline(steps).run(data, run=tmp_path / f"{task} before").kept]
        votes = [
            {"row": row, "annotator": who, "decision": decision, "value": value}
            for row, (decision, value) in zip(ids, said, strict=True)
            for who in ("anna", "ben")
        ]
        decided = tmp_path / f"{task}.jsonl"
        decided.write_text("\n".join(map(json.dumps, votes)), encoding="utf-8")
        result = Pipeline([*steps, Reviewed(file=str(decided))]).run(data, run=tmp_path / task)
        assert len(result.kept) == len(said) - 1 and not len(result.failed)
        path = tmp_path / task / f"{TASKS[task][0]}.jsonl"
        write_rows(result.kept.tables(), path, TASKS[task][0], run=tmp_path / task)
        files.append((task, path))
    assert_trained(tmp_path, files)


@pytest.mark.slow
def test_prompts_are_what_online_trainers_ask_for(tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="trl is not installed")
    for record in lines(exported("trl_prompt", "prompt", tmp_path)):
        assert data_utils.is_conversational(record)
        assert record["prompt"][-1]["role"] == "user"
