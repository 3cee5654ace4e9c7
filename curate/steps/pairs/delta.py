"""Pair the answer of a larger model with that of a smaller one: no judge, no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from curate.row import Row
from curate.step import Drop, Product
from curate.steps.pairs._answers import (
    PairMaker,
    ScoredPair,
    answers_of,
)


@dataclass(frozen=True, kw_only=True)
class Delta(PairMaker):
    """Prefer the answer of a larger model to that of a smaller one, whatever they say.

    `larger` and `smaller` are names of models, as `respond` writes them into the column `answered`,
    or as a dataset has them in a column `model`. For each prompt, the first answer of one is paired
    with the first answer of the other, the second with the second, and so on. `most` is the maximum
    number of pairs per prompt. Two answers form no pair if they are equal or too different in
    length. `length_within` is the maximum difference in words, since larger models write longer
    answers and the preference for length would be learnt, too. `tokenizer` (a folder, or a name on
    the Hugging Face Hub) counts its tokens instead. The report has the length gap before and after
    that rule.
    """

    larger: str | None = None
    smaller: str | None = None

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
        super().check()

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Pair the answers of one prompt in order."""
        found = answers_of(rows, whole=False, measure=self.measure)
        sides = [[a for a in found if a.model == name] for name in (self.larger, self.smaller)]
        for which, own in zip(("larger", "smaller"), sides, strict=True):
            if not own:
                return [Drop(f"no answer by the {which} model")]
        pairs = [ScoredPair(*two) for two in zip(*sides, strict=False)]
        told = [pair for pair in pairs if not pair.same_text]
        if not told:
            return [Drop("both models say the same")]
        return self.products(told, found, scored=False)
