"""Keep the best-scored answers to each prompt: best-of-n, and one round of RAFT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from curate.row import Row
from curate.step import Drop, Figures, Gather, Product, rule
from curate.steps.pairs._answers import answers_of, prompt_key


@dataclass(frozen=True, kw_only=True)
class BestOf(Gather):
    """Keep the best answers to each prompt, by the score of an earlier step.

    `by` is the label of that step; the highest score is best. With `lowest`, the lowest score is
    best (`surprisal`, `perplexity`). Of equal answers, the earlier one is better. `count` is the
    number of answers to keep, one by default. `share` is the share to keep instead (rounded down,
    at least one), as RAFT keeps the best 1/K. A group fails if an answer has no score or if answers
    are missing: fewer than `respond` made, or fewer than `answers`. With `whole: false`, the best
    of the available answers is kept. The others are dropped, with their rank and the best answer as
    partner. RAFT's other choice, the best share over all prompts, is `top: {share: 0.2, by:
    LABEL}`, which favours easy prompts. The report has the mean score of all answers and of those
    kept, and, if one is kept, log n - (n - 1) / n, the upper bound on the KL divergence from the
    model.
    """

    by: str | None = None
    answers: int | None = None
    whole: bool = True
    count: int | None = rule(None)
    share: float | None = rule(None)
    lowest: bool = rule(False)

    source: ClassVar[str] = "Dong et al. 2023 (RAFT), arXiv 2304.06767, algorithm 1"
    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def check(self) -> None:
        """Reject a step without a score to go by, or with two amounts."""
        if not self.by:
            raise ValueError(
                "by must name an earlier step whose score decides, as in by: reward_score"
            )
        if self.count is not None and self.share is not None:
            raise ValueError("give count or share, not both")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count is {self.count}; it must be 1 or more")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share:g}; it must be above 0 and at most 1")
        if self.answers is not None and self.answers < 2:
            raise ValueError(f"answers is {self.answers}; to choose from, it must be 2 or more")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Conversations stay what they are."""
        return kinds

    def expects(self, row: Row) -> int | None:
        """Return `answers`."""
        return self.answers if self.whole else None

    def key(self, row: Row) -> str:
        """Return a key of the row's prompt."""
        return prompt_key(row)

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Keep the best rows of one prompt."""
        scores = {}
        for answer in answers_of(rows, self.by, whole=self.whole):
            if answer.score is None:
                raise ValueError(f"an answer has no score by '{self.by}'")
            scores[answer.row.id] = answer.score
        ranked = sorted(rows, key=lambda row: scores[row.id], reverse=not self.lowest)
        count = self.count or 1
        if self.share is not None:
            count = max(1, math.floor(Fraction(str(self.share)) * len(rows)))
        best, kept = ranked[0], ranked[:count]
        drops = [
            Drop(
                f"not among the best {count} of its prompt",
                scores[row.id],
                detail={"place": place, "of": len(rows)},
                partner=best.id,
                row=row.id,
            )
            for place, row in enumerate(ranked[count:], count + 1)
        ]
        figures = {
            "score of all": math.fsum(scores.values()) / len(rows),
            "score of kept": math.fsum(scores[row.id] for row in kept) / len(kept),
        }
        if count == 1:
            figures["divergence bound"] = math.log(len(rows)) - (len(rows) - 1) / len(rows)
        return [*kept, *drops, Figures(figures)]
