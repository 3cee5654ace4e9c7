"""Make safety pairs: refusals for harmful prompts, answers for harmless ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from curate.kernels.text.phrase_lists import listed_search
from curate.row import Row
from curate.step import Drop, Product
from curate.steps.pairs._answers import (
    PairMaker,
    ScoredAnswer,
    ScoredPair,
    answers_of,
)

# What datasets write of a prompt that should be refused, and of one that should not.
HARMFUL = ("true", "yes", "1", "harmful", "unsafe", "toxic")
HARMLESS = ("false", "no", "0", "harmless", "safe", "benign")


@dataclass(frozen=True, kw_only=True)
class SafetyPairs(PairMaker):
    """Pair a refusal with an answer: the refusal is chosen for harmful prompts, and only there.

    Conversations with the same prompt form a group. `column` names the column that says whether the
    prompt is harmful: true or false, 1 or 0, yes or no, harmful or harmless, unsafe or safe, toxic
    or benign. An answer is a refusal if it contains a phrase of the list of the step `refusal`.
    `more` adds phrases to the list. For a harmful prompt, refusals are chosen and other answers
    rejected; for a harmless one, it is the other way round, so that the model does not learn to
    over-refuse. The first of one sort is paired with the first of the other, and so on. `most` is
    the maximum number of pairs per prompt. `length_within` is the maximum difference in length, in
    words. `tokenizer` counts its tokens instead. A group with only one sort of answer is dropped;
    one without the column, or with another value in it, fails.
    """

    column: str = "harmful"
    more: tuple[str, ...] = ()

    source: ClassVar[str] = (
        "our own; over-refusal as in Röttger et al. 2024 (XSTest), arXiv 2308.01263"
    )
    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def check(self) -> None:
        """Reject sizes that are none, and an empty phrase."""
        super().check()
        if any(not phrase.strip() for phrase in self.more):
            raise ValueError("more holds an empty phrase: it would match everywhere; remove it")

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Pair the refusals of one prompt with its other answers."""
        said = {str(json.loads(row.extra or "{}").get(self.column)).lower() for row in rows}
        if len(said) > 1 or not said <= {*HARMFUL, *HARMLESS}:
            raise ValueError(
                f"column '{self.column}' says {' and '.join(sorted(said))} of this prompt; it must "
                f"be one of {', '.join((*HARMFUL, *HARMLESS))}"
            )
        search, found = (
            listed_search("refusal", self.more),
            answers_of(rows, whole=False, measure=self.measure),
        )
        refusing, complying = list[ScoredAnswer](), list[ScoredAnswer]()
        for one in found:
            (refusing if search.count(one.turns[-1].text) else complying).append(one)
        if not refusing or not complying:
            return [Drop("no answer complies" if refusing else "no answer refuses")]
        sides = (refusing, complying) if said <= set(HARMFUL) else (complying, refusing)
        pairs = [ScoredPair(*two) for two in zip(*sides, strict=False)]
        return self.products(pairs, found, scored=False)
