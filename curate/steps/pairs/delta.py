"""Pair the answer of a larger model with that of a smaller one: no judge, no score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from curate.row import Row
from curate.step import Drop, Gather, Product, rule
from curate.steps.pairs._answers import (
    ScoredPair,
    answers_of,
    prompt_key,
    sum_lengths,
    within_lengths,
)


@dataclass(frozen=True, kw_only=True)
class Delta(Gather):
    """Prefer the answer of a larger model to that of a smaller one, whatever they say.

    `larger` and `smaller` are names of models, as `respond` writes them into the column `answered`,
    or as a dataset has them in a column `model`. Of each prompt the first answer of the one is
    paired with the first answer of the other, the second with the second, up to `most` pairs. Two
    answers are no pair where they say the same, or where their lengths differ by more than
    `length_within` words: larger models write longer answers, and a preference for length is
    learnt along. The report has the length gap before and after that rule.
    """

    larger: str | None = None
    smaller: str | None = None
    most: int | None = rule(1)
    length_within: int | None = rule(None)

    source: ClassVar[str] = (
        "Geng et al. 2025 (The Delta Learning Hypothesis), arXiv 2507.06187; Olmo 3 (2025)"
    )
    kinds: ClassVar[tuple[str, ...]] = ("sft", "ranked")

    def check(self) -> None:
        """Reject a step that names not two models."""
        if not self.larger or not self.smaller or self.larger == self.smaller:
            raise ValueError(
                "larger and smaller must each name a model, two different ones, as in "
                "larger: big, smaller: small"
            )
        if self.most is not None and self.most < 1:
            raise ValueError(f"most is {self.most}; it must be 1 or more (or null for no limit)")
        if self.length_within is not None and self.length_within < 0:
            raise ValueError(f"length_within is {self.length_within}; it must be 0 or more words")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All that leaves is pairs."""
        return frozenset({"preference"}) | (kinds if self.keep_parent else frozenset())

    def key(self, row: Row) -> str:
        """Return a key of the row's prompt."""
        return prompt_key(row)

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Pair the answers of one prompt in order."""
        found = answers_of(rows, whole=False)
        sides = [[a for a in found if a.model == name] for name in (self.larger, self.smaller)]
        for which, own in zip(("larger", "smaller"), sides, strict=True):
            if not own:
                return [Drop(f"no answer by the {which} model")]
        pairs = [ScoredPair(*two) for two in zip(*sides, strict=False)]
        told = [pair for pair in pairs if not pair.same_text]
        if not told:
            return [Drop("both models say the same")]
        return within_lengths(told, found, most=self.most, words=self.length_within, scored=False)

    def figures(self, groups: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Return the number of pairs, and the length gap before and after the rule for it."""
        return sum_lengths(groups)
