"""A trainer without a model: what it learns of a row stands in the row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import StoppedShort
from curate.evaluate.proof.arms import ArmResult
from curate.evaluate.proof.subsets import Subset
from curate.row import Row, seed_of
from curate.train.fixed_budget import TokenBudget, exposure_of, pieces_of
from curate.train.held_out_scores import GreedyAnswer


class MeanTrainer:
    """The loss of a held-out row is 3 minus the mean quality of what was learnt, and noise."""

    def __init__(self, metrics: Mapping[str, bool] | None = None) -> None:
        self.metrics: Mapping[str, bool] = metrics or {"loss": True}
        self.rows: Sequence[Row] = []
        self.trained: list[str] = []
        # Names of subsets that fail, and how.
        self.broken: dict[str, BaseException | str] = {}

    def identity(self) -> dict[str, Any]:
        """Return nothing but a name."""
        return {"trainer": "mean"}

    def lengths(self, rows: Sequence[Row]) -> list[int]:
        """Return the words of each answer."""
        return [len(row.response.split()) for row in rows]

    def remarks(self) -> list[str]:
        """Return nothing."""
        return []

    def hold_out(self, rows: Sequence[Row]) -> None:
        """Score these rows."""
        self.rows = rows

    def budget(self, lengths: Sequence[int]) -> TokenBudget:
        """Return one epoch in ten steps."""
        return TokenBudget(10, sum(lengths))

    def score(self, subset: Subset, budget: TokenBudget, seed: int, folder: Path) -> ArmResult:
        """Return scores, or fail as told."""
        assert folder.is_dir()
        self.trained.append(subset.name)
        broken = self.broken.get(subset.name)
        if isinstance(broken, BaseException):
            raise broken
        lengths = self.lengths(subset.rows)
        steps = pieces_of(lengths, budget, seed)
        quality = [json.loads(subset.rows[p.example].extra or "{}").get("quality", 0.0)
                   for step in steps for p in step]  # fmt: skip
        noise = np.random.default_rng(seed_of(subset.name, seed) % 2**32)
        loss = 3 - float(np.mean(quality)) + noise.normal(0, 0.02, len(self.rows))
        if broken == "nan":
            loss[0] = math.nan
        found = {name: (loss if lower else -loss).tolist() for name, lower in self.metrics.items()}
        return ArmResult(found, exposure_of(lengths, steps))


class WritingTrainer(MeanTrainer):
    """Its models answer well in the share of the good rows that they learnt, and by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Sequence[Row] = []

    def can_answer(self, row: Row, max_tokens: int) -> bool:
        """Tell that all prompts fit, but those that speak of too much."""
        return "too much" not in row.instruction

    def ask(self, rows: Sequence[Row], max_tokens: int) -> None:
        """Answer these rows."""
        self.asked = rows

    def untrained(self) -> list[GreedyAnswer]:
        """Say nothing but once."""
        return [GreedyAnswer("" if n else "PLAIN", False) for n in range(len(self.asked))]

    def score(self, subset: Subset, budget: TokenBudget, seed: int, folder: Path) -> ArmResult:
        """Return scores, and an answer to each prompt."""
        found = super().score(subset, budget, seed, folder)
        quality = [json.loads(row.extra or "{}").get("quality", 0.0) for row in subset.rows]
        share = sum(quality) / len(quality)
        answers = []
        for row in self.asked:
            draw = seed_of("an answer to", row.id) / 2**64
            word = "GOOD" if draw < 0.2 + 0.6 * share else "BAD"
            answers.append(GreedyAnswer(f"{word} {row.instruction}", False))
        return found._replace(answers=answers)


def failure() -> StoppedShort:
    """Return what a loss that is not a number raises."""
    return StoppedShort("the loss is nan at step 4")


def records(count: int, *, words: int = 5, quality: bool = True) -> list[dict[str, Any]]:
    """Return rows whose prompts are unlike, half of them good."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"alpha{n} beta{n} gamma{n} delta{n}"},
                {"role": "assistant", "content": " ".join(f"w{n}" for _ in range(words))},
            ],
            **({"quality": float(n % 2)} if quality else {}),
        }
        for n in range(count)
    ]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as JSON lines, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
