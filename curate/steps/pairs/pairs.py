"""Make preference pairs of the scored answers to each prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal

from curate.row import Row
from curate.step import Drop, Product, rule
from curate.steps.pairs._answers import (
    PairMaker,
    ScoredAnswer,
    ScoredPair,
    answers_of,
)


@dataclass(frozen=True, kw_only=True)
class Pairs(PairMaker):
    """Pair the best answer to a prompt with a worse one, by the scores of an earlier step.

    Rows with the same prompt form a group: conversations scored by an earlier step, or ranked rows,
    whose candidates have scores of their own. `by` is the label of that step; the answer with the
    highest score is chosen, of equal ones the first. With `lowest`, it is the lowest score
    (`surprisal`, `perplexity`), and pairs and ledger have the negated scores, since other steps and
    trainers take higher ones as better. `rejected` is the `worst`, the `second` best or a `random`
    one of the others; `every` takes all pairs of answers, and `max_delta` those of answers by
    different models, the widest gap first. Answers that are equal apart from case and white space
    form no pair, nor do those with equal scores. `margin` is the minimum difference of the scores.
    `length_within` is the maximum difference in length, in words. `tokenizer`, a folder or a name
    on the Hugging Face Hub, counts its tokens instead. If two answers form no pair, the next one by
    the same rule is tried. `most` is the maximum number of pairs per prompt. `on_policy` is a
    model's name: exactly one side of a pair is by that model. `on_policy_share` is the share of
    prompts for which this must hold.

    A group fails if an answer has no score or if answers are missing: fewer than `respond` made, or
    fewer than `answers`. With `whole: false`, the available answers are paired. The report has the
    length gap between chosen and rejected before and after the rule about lengths.
    """

    by: str | None = None
    answers: int | None = None
    whole: bool = True
    rejected: Literal["worst", "random", "second", "every", "max_delta"] = rule("worst")
    lowest: bool = rule(False)
    margin: float = rule(0.0)
    on_policy: str | None = rule(None)
    on_policy_share: float = rule(1.0)

    source: ClassVar[str] = (
        "Cui et al. 2023 (UltraFeedback), arXiv 2310.01377, and Tunstall et al. 2023 (Zephyr), "
        "arXiv 2310.16944, section 3.2; every: Ouyang et al. 2022 (InstructGPT), arXiv 2203.02155"
    )
    kinds: ClassVar[tuple[str, ...]] = ("sft", "ranked")
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject sizes and shares that are none."""
        super().check()
        if self.answers is not None and self.answers < 2:
            raise ValueError(f"answers is {self.answers}; a pair needs 2 or more")
        if not self.margin >= 0:
            raise ValueError(f"margin is {self.margin:g}; it must be 0 or more")
        if not 0 <= self.on_policy_share <= 1:
            raise ValueError(f"on_policy_share is {self.on_policy_share:g}; it must be from 0 to 1")

    def expects(self, row: Row) -> int | None:
        """Return `answers`; a ranked row holds all of its answers itself."""
        return self.answers if row.kind == "sft" and self.whole else None

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Make the pairs of one prompt, or say which rule left none."""
        found = answers_of(
            rows,
            self.by,
            whole=self.whole,
            lowest=self.lowest,
            measure=self.measure,
        )
        unscored = sum(answer.score is None for answer in found)
        if unscored:
            raise ValueError(
                f"{unscored} of {len(found)} answers have no score"
                + (f" by '{self.by}'" if self.by else "; by must name the step that scores them")
            )
        if self.whole and self.answers not in (None, len(found)):
            raise ValueError(f"the prompt has {len(found)} of {self.answers} answers")
        if len(found) < 2:
            return [Drop("only one answer to its prompt")]
        rules: list[tuple[str, Callable[[ScoredPair], bool]]] = [
            ("all answers have one score", lambda pair: pair.gap > 0),
            (f"no gap of {self.margin:g} or more", lambda pair: pair.gap >= self.margin),
            ("answers with other scores say the same", lambda pair: not pair.same_text),
        ]
        if self.rejected == "max_delta":
            rules.append(("no answers of two models", ScoredPair.of_two_models))
        own, dice = self.on_policy, rows[0].random(f"{self.title} on policy")
        if own is not None and dice.random() < self.on_policy_share:
            rules.append((f"no pair with one side by {own}", lambda pair: pair.has_side_by(own)))
        falling = sorted(found, key=_score, reverse=True)
        if self.rejected in ("every", "max_delta"):
            pairs = [ScoredPair(*two) for two in combinations(falling, 2)]
            pairs.sort(key=lambda pair: -pair.gap)
        else:
            best, *others = falling
            if self.rejected == "worst":
                others.sort(key=_score)
            elif self.rejected == "random":
                rows[0].random(self.title).shuffle(others)
            pairs = [ScoredPair(best, other) for other in others]
        for reason, holds in rules:
            pairs = [pair for pair in pairs if holds(pair)]
            if not pairs:
                return [Drop(reason)]
        return self.products(pairs, found, scored=True)


def _score(answer: ScoredAnswer) -> float:
    assert answer.score is not None
    return answer.score
