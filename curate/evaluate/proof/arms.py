"""Train one subset after another, keep what each scores, and train none twice.

A run's scores are a small file that appears as a whole; models and checkpoints are deleted with the
run. A run that was killed continues from its checkpoint, one that failed is trained again with the
same seed, and its failure is reported, never left out.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from curate.errors import DiskFull, StoppedShort, UsageError
from curate.evaluate.proof.draw_test import Values
from curate.evaluate.proof.proof_plan import room_on_disk
from curate.evaluate.proof.subsets import Subset
from curate.row import Row
from curate.system.posix import write_atomically
from curate.train.fixed_budget import Exposure, TokenBudget
from curate.train.held_out_scores import GreedyAnswer

FOLDER = "arms"


class ArmResult(NamedTuple):
    """What one run came to: each metric of every held-out row, and answers where any are asked."""

    scores: Mapping[str, Sequence[float]]
    exposure: Exposure
    answers: Sequence[GreedyAnswer] = ()


class ArmTrainer(Protocol):
    """Train a model from its first state on rows, and score the rows that are held out."""

    @property
    def metrics(self) -> Mapping[str, bool]:
        """What is measured of each held-out row, and whether lower is better."""

    def identity(self) -> dict[str, Any]:
        """Return what decides a score beside rows, budget and seed, as JSON data."""

    def lengths(self, rows: Sequence[Row]) -> list[int]:
        """Return the supervised tokens of each row, 0 where nothing of it can be learnt."""

    def remarks(self) -> list[str]:
        """Return what is to be known of the rows seen so far, such as how many were cut."""

    def hold_out(self, rows: Sequence[Row]) -> None:
        """Score these rows from now on."""

    def budget(self, lengths: Sequence[int]) -> TokenBudget:
        """Return what settings mean for rows of these supervised tokens: all arms get that."""

    def score(self, subset: Subset, budget: TokenBudget, seed: int, folder: Path) -> ArmResult:
        """Train on a subset, score every held-out row, and answer what is asked.

        `folder` is for what a killed run continues from; it is deleted afterwards.

        Raises:
            StoppedShort: training failed; `DiskFull` where there was no room.
        """


@runtime_checkable
class AnsweringTrainer(Protocol):
    """A trainer whose models write answers, for a judge to read."""

    def can_answer(self, row: Row, max_tokens: int) -> bool:
        """Tell whether a row's prompt leaves room for an answer of that length."""

    def ask(self, rows: Sequence[Row], max_tokens: int) -> None:
        """Let every model answer the prompts of these rows from now on, greedily."""

    def untrained(self) -> Sequence[GreedyAnswer]:
        """Return what the model answers before it is trained."""


class ArmProgress(NamedTuple):
    """Runs done and to do, the one under way, and the seconds left where they can be told."""

    done: int
    runs: int
    name: str
    seconds_left: float | None


class Arm(NamedTuple):
    """What came of one subset: its mean scores of each row over the seeds that were trained."""

    scores: Mapping[str, Values]
    exposure: Exposure
    seconds: float
    # Those of each seed, to the prompts that are judged.
    answers: Sequence[Sequence[GreedyAnswer]] = ()


Listener = Callable[[ArmProgress], None]


def train_arms(
    subsets: Sequence[Subset],
    budget: TokenBudget,
    seeds: Sequence[int],
    trainer: ArmTrainer,
    out: Path,
    listener: Listener | None = None,
) -> tuple[dict[str, Arm], dict[str, str]]:
    """Return what each subset scores, and why those that are missing failed.

    Raises:
        DiskFull: there is no room for scores or checkpoints; what is there stays.
    """
    runs = [(n, subset, seed) for n, subset in enumerate(subsets) for seed in seeds]
    found: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    began, trained = time.monotonic(), 0
    for done, (number, subset, seed) in enumerate(runs):
        name = f"{number:03}-{re.sub(r'[^A-Za-z0-9._-]+', '_', subset.name)[:60]}-seed{seed}"
        path = out / FOLDER / f"{name}.json"
        record: dict[str, Any] | None = None
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            if record is None or record["rows_digest"] != subset.digest():
                raise UsageError(f"{path} is of other rows than this plan's; move it away")
            # A kill may have come between the scores and the end of the checkpoints.
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        if listener is not None:
            left = (time.monotonic() - began) / trained * (len(runs) - done) if trained else None
            listener(ArmProgress(done, len(runs), name, None if record else left))
        if record is None:
            trained += 1
            try:
                record = _train(path, subset, budget, seed, trainer)
            except DiskFull:
                raise
            except StoppedShort as error:
                failed[subset.name] = f"seed {seed}: {error}"
                continue
        found.setdefault(subset.name, []).append(record)
    whole = {}
    for name, records in found.items():
        if name not in failed:
            scores = {
                metric: np.array([one["scores"][metric] for one in records], np.float64).mean(0)
                for metric in records[0]["scores"]
            }
            seconds = sum(one["seconds"] for one in records)
            answers = [
                [GreedyAnswer(*one) for one in r["answers"]] for r in records if "answers" in r
            ]
            whole[name] = Arm(scores, Exposure(**records[0]["exposure"]), seconds, answers)
    return whole, failed


def _train(
    path: Path, subset: Subset, budget: TokenBudget, seed: int, trainer: ArmTrainer
) -> dict[str, Any]:
    """Train one run and write its record."""
    work, began = path.with_suffix(""), time.monotonic()
    with room_on_disk(path.parent):
        work.mkdir(parents=True, exist_ok=True)
        scores, exposure, answers = trainer.score(subset, budget, seed, work)
        for metric, values in scores.items():
            wrong = sum(not math.isfinite(value) for value in values)
            if wrong:
                raise StoppedShort(
                    f"{metric} of {wrong:,} held-out rows is not a number after training on "
                    f"{subset.name}: lower learning_rate, or look at its rows"
                )
        record = {
            "subset": subset.name,
            "seed": seed,
            "rows_digest": subset.digest(),
            "exposure": exposure._asdict(),
            "seconds": round(time.monotonic() - began, 2),
            "scores": {name: list(values) for name, values in scores.items()},
            **({"answers": answers} if answers else {}),
        }
        write_atomically(path, json.dumps(record))
    shutil.rmtree(work, ignore_errors=True)
    return record
