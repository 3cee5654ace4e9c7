"""Make safety pairs: refusals for harmful prompts, answers for harmless ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from curate.kernels.text.phrase_lists import listed_search
from curate.row import Row
from curate.step import Drop, Gather, Product, rule
from curate.steps.pairs._answers import (
    ScoredAnswer,
    ScoredPair,
    answers_of,
    prompt_key,
    sum_lengths,
    within_lengths,
)

# What datasets write of a prompt that should be refused, and of one that should not.
HARMFUL = ("true", "yes", "1", "harmful", "unsafe", "toxic")
HARMLESS = ("false", "no", "0", "harmless", "safe", "benign")


@dataclass(frozen=True, kw_only=True)
class SafetyPairs(Gather):
    """Pair a refusal with an answer: the refusal is chosen for a harmful prompt, and only there.

    Conversations with the same prompt are a group; the column `column` says whether the prompt is
    harmful: true or false, 1 or 0, yes or no, harmful or harmless, unsafe or safe, toxic or benign.
    An answer refuses if it holds a phrase of the list of the step `refusal`, or of `more`. For a
    harmful prompt answers that refuse are chosen and those that comply rejected; for a harmless one
    it is the other way round, so that what is learnt is no reluctance (over-refusal). The first of
    the ones is paired with the first of the others, up to `most` pairs, of lengths within
    `length_within` words of each other. A group with one sort of answer alone is dropped, and one
    without the column, or where it says something else, fails.
    """

    column: str = "harmful"
    more: tuple[str, ...] = ()
    most: int | None = rule(1)
    length_within: int | None = rule(None)

    source: ClassVar[str] = (
        "our own; over-refusal as in Röttger et al. 2024 (XSTest), arXiv 2308.01263"
    )
    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def check(self) -> None:
        """Reject sizes that are none, and an empty phrase."""
        if self.most is not None and self.most < 1:
            raise ValueError(f"most is {self.most}; it must be 1 or more (or null for no limit)")
        if self.length_within is not None and self.length_within < 0:
            raise ValueError(f"length_within is {self.length_within}; it must be 0 or more words")
        if any(not phrase.strip() for phrase in self.more):
            raise ValueError("more holds an empty phrase: it would match everywhere; remove it")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All that leaves is pairs."""
        return frozenset({"preference"}) | (kinds if self.keep_parent else frozenset())

    def key(self, row: Row) -> str:
        """Return a key of the row's prompt."""
        return prompt_key(row)

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Pair the refusals of one prompt with its other answers."""
        said = {str(json.loads(row.extra or "{}").get(self.column)).lower() for row in rows}
        if len(said) > 1 or not said <= {*HARMFUL, *HARMLESS}:
            raise ValueError(
                f"column '{self.column}' says {' and '.join(sorted(said))} of this prompt; it must "
                f"be one of {', '.join((*HARMFUL, *HARMLESS))}"
            )
        search, found = listed_search("refusal", self.more), answers_of(rows, whole=False)
        refusing, complying = list[ScoredAnswer](), list[ScoredAnswer]()
        for one in found:
            (refusing if search.count(one.turns[-1].text) else complying).append(one)
        if not refusing or not complying:
            return [Drop("no answer complies" if refusing else "no answer refuses")]
        sides = (refusing, complying) if said <= set(HARMFUL) else (complying, refusing)
        pairs = [ScoredPair(*two) for two in zip(*sides, strict=False)]
        return within_lengths(pairs, found, most=self.most, words=self.length_within, scored=False)

    def figures(self, groups: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Return the number of pairs, and the length gap before and after the rule for it."""
        return sum_lengths(groups)
