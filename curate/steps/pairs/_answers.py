"""Answers to one prompt, gathered from rows, and the preference pairs that are made of them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from curate.encoders.tokenizer import token_counter
from curate.kernels.text.words import words
from curate.row import Candidate, Message, Record, Row, canonical_bytes, digest
from curate.step import Drop, Figures, FigureTotal, Gather, Made, Product, rule
from curate.steps.generate.respond import ANSWERED, answered_of, prompt_of

# Columns of a pair that say where its two sides come from.
ORIGINS = ("chosen_model", "rejected_model", "chosen_score", "rejected_score")


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer: the row that holds it, its turns, and its score and model, where known.

    What is computed of its text is computed once, in however many pairs it stands.
    """

    row: Row
    turns: tuple[Message, ...]
    score: float | None
    model: str | None
    measure: Callable[[str], int]

    @cached_property
    def length(self) -> int:
        """How long all of its turns are."""
        return sum(self.measure(turn.text) for turn in self.turns)

    @cached_property
    def plain(self) -> str:
        """What it says, where case, white space and ways to store a character do not matter."""
        text = unicodedata.normalize("NFC", "\n".join(turn.text for turn in self.turns))
        attached = "".join(turn.attached for turn in self.turns)
        return " ".join(text.casefold().split()) + attached


class ScoredPair(NamedTuple):
    """Two answers to one prompt, the better one first."""

    chosen: ScoredAnswer
    rejected: ScoredAnswer

    @property
    def gap(self) -> float:
        """By how much the chosen answer's score is the higher one."""
        assert self.chosen.score is not None
        assert self.rejected.score is not None
        return self.chosen.score - self.rejected.score

    @property
    def longer(self) -> int:
        """How much longer the chosen answer is than the rejected one."""
        return self.chosen.length - self.rejected.length

    def of_two_models(self) -> bool:
        """Tell whether two different models, both known, wrote them."""
        models = {self.chosen.model, self.rejected.model}
        return len(models) == 2 and None not in models

    def has_side_by(self, model: str) -> bool:
        """Tell whether one side is the model's, and the other one is not."""
        return (self.chosen.model == model) != (self.rejected.model == model)

    @property
    def same_text(self) -> bool:
        """Whether both say the same."""
        return self.chosen.plain == self.rejected.plain


def word_count(text: str) -> int:
    """Return how many words a text has; a Chinese or Japanese character is one."""
    return len(words(text))


def measure_of(tokenizer: str | None) -> Callable[[str], int]:
    """Return what measures a text: its words, or the tokens of a tokenizer."""
    return word_count if tokenizer is None else token_counter(tokenizer)


def unit_of(tokenizer: str | None) -> str:
    """Return what lengths are counted in."""
    return "words" if tokenizer is None else "tokens"


def prompt_key(row: Row) -> str:
    """Return a key of the turns that a row answers: equal prompts, equal keys."""
    return digest(canonical_bytes("prompt", {"prompt": prompt_of(row)})).hex()


def answers_of(
    rows: Sequence[Row],
    by: str | None = None,
    *,
    whole: bool = True,
    lowest: bool = False,
    measure: Callable[[str], int] = word_count,
) -> list[ScoredAnswer]:
    """Return the answers of conversations and ranked rows, in order.

    A conversation has the score of the step `by`, a candidate of a ranked row its own. Where the
    `lowest` score is best all are negated: whoever reads them takes the higher one for the better.

    Raises:
        ValueError: a row has no answer, or (if they must be `whole`) answers that `respond` made
            for the same row are missing.
    """
    found, sets = [], dict[str, list[int]]()
    for row in rows:
        if row.kind == "ranked":
            found += [
                ScoredAnswer(row, c.messages, _turned(c.score, lowest), c.model, measure)
                for c in row.candidates
            ]
            continue
        if not row.messages or row.messages[-1].role != "assistant":
            raise ValueError("a conversation has no answer: its last turn is not the assistant's")
        answered = answered_of(row)
        if answered is not None:
            sets.setdefault(answered.of, []).append(answered.made)
            model: Any = answered.by
        else:
            # A dataset may say in a column who answered.
            has_model = row.extra is not None and '"model"' in row.extra
            model = json.loads(row.extra or "{}").get("model") if has_model else None
        score = None if by is None else _turned(row.scores.get(by), lowest)
        model = model if isinstance(model, str) else None
        found.append(ScoredAnswer(row, row.messages[-1:], score, model, measure))
    for parent, made in sets.items():
        if whole and any(count != len(made) for count in made):
            raise ValueError(
                f"{len(made)} of {max(made)} answers to row {parent} are here: the others failed "
                "or were dropped on the way; filter after this step, or set whole: false"
            )
    return found


def _turned(score: float | None, lowest: bool) -> float | None:
    """Return a score of which the higher one is the better; a missing one stays missing."""
    if score is None or math.isnan(score):
        return None
    return 0.0 - score if lowest else score


def shared_columns(rows: Sequence[Row], dropped: Collection[str | None]) -> dict[str, Any]:
    """Return the columns in which all rows agree, but those `dropped`."""
    from curate.read.shapes.record_fields import extra_columns

    first, *others = map(extra_columns, rows)
    return {
        name: value
        for name, value in first.items()
        if name not in dropped and all(name in o and o[name] == value for o in others)
    }


def rescored(candidate: Candidate, score: float, title: str) -> Candidate:
    """Return a candidate with the score that the step `title` gives it.

    The score it came with stays in its extra.

    Raises:
        ValueError: another score stands there already.
    """
    if candidate.score is not None:
        candidate = candidate.with_extra(f"score_before_{title}", candidate.score)
    return candidate._replace(score=score)


@dataclass(frozen=True, kw_only=True)
class PairMaker(Gather):
    """Make preference pairs of the answers to one prompt, of about the same length where asked.

    Attributes:
        most: So many pairs are made of a prompt; `None` for no limit.
        length_within: Their lengths differ by at most so much, in words or tokens.
        tokenizer: Lengths are its tokens.
    """

    most: int | None = rule(1)
    length_within: int | None = rule(None)
    tokenizer: str | None = rule(None)

    def check(self) -> None:
        """Reject sizes that are none."""
        if self.most is not None and self.most < 1:
            raise ValueError(f"most is {self.most}; it must be 1 or more (or null for no limit)")
        if self.length_within is not None and self.length_within < 0:
            raise ValueError(
                f"length_within is {self.length_within}; it must be 0 or more {self.unit}"
            )

    def prepare(self) -> None:
        """Load the tokenizer, where there is one."""
        measure_of(self.tokenizer)

    @property
    def measure(self) -> Callable[[str], int]:
        """What measures a text."""
        return measure_of(self.tokenizer)

    @property
    def unit(self) -> str:
        """What lengths are counted in."""
        return unit_of(self.tokenizer)

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All that leaves is pairs."""
        return frozenset({"preference"}) | (kinds if self.keep_parent else frozenset())

    def key(self, row: Row) -> str:
        """Return a key of the row's prompt."""
        return prompt_key(row)

    def products(
        self, pairs: Sequence[ScoredPair], answers: Sequence[ScoredAnswer], *, scored: bool
    ) -> list[Product]:
        """Return the first `most` pairs whose lengths differ little enough, as made rows.

        Answers in none of them are dropped. Figures compare these pairs with those that would be
        the first without the rule about lengths.
        """
        balanced = [
            pair
            for pair in pairs
            if self.length_within is None or abs(pair.longer) <= self.length_within
        ]
        before, after = pairs[: self.most], balanced[: self.most]
        figures: dict[str, float] = {"pairs": len(after)}
        for name, own in (("before", before), ("after", after)):
            figures |= {
                f"count {name}": len(own),
                f"gap {name}": sum(pair.longer for pair in own),
                f"longer {name}": sum((pair.longer > 0) + (pair.longer == 0) / 2 for pair in own),
            }
        if not after:
            reason = f"no two answers within {self.length_within} {self.unit}"
            return [Drop(reason), Figures(figures)]
        used = {side.row.id for pair in after for side in pair}
        left = {one.row.id: one.score for one in answers if one.row.id not in used}
        drops = [Drop("in no pair of its prompt", score, row=id_) for id_, score in left.items()]
        return [*(self.made_pair(pair, scored=scored) for pair in after), *drops, Figures(figures)]

    def made_pair(self, pair: ScoredPair, *, scored: bool) -> Made:
        """Return the preference row of a pair, with the gap of the scores where it is `scored`.

        It keeps the columns in which both rows agree, and says in columns of its own which models
        wrote its sides, and their scores, where these are known.
        """
        chosen, rejected = pair
        fields = {
            "prompt": prompt_of(chosen.row),
            "chosen": chosen.turns,
            "rejected": rejected.turns,
            "margin": pair.gap if scored else None,
            "p_chosen": None,
        }
        known = (chosen.model, rejected.model, chosen.score, rejected.score)
        beside = {name: v for name, v in zip(ORIGINS, known, strict=True) if v is not None}
        rows = [answer.row for answer in pair]
        columns = shared_columns(rows, (ANSWERED, "model", *ORIGINS)) | beside
        extra = json.dumps(columns, ensure_ascii=False) if columns else None
        parents = tuple(dict.fromkeys((chosen.row.id, rejected.row.id)))
        record = Record("preference", fields, extra, parents)
        detail = {self.unit: [chosen.length, rejected.length]}
        return Made(record, pair.gap if scored else None, detail)

    def figures(self, found: Mapping[str, FigureTotal]) -> Mapping[str, float]:
        """Return how many pairs there are, and how much longer their chosen answers.

        `length gap, words` (or tokens) is the mean length of the chosen answer less that of the
        rejected one, `chosen longer` the share of pairs in which it is the longer one, ties half;
        both before and after the rule about lengths.
        """
        sums = {name: own.sum for name, own in found.items()}
        out = {"pairs": sums.get("pairs", 0.0)}
        for when in ("before", "after"):
            if count := sums.get(f"count {when}", 0.0):
                out[f"length gap {when}, {self.unit}"] = sums[f"gap {when}"] / count
                out[f"chosen longer {when}"] = sums[f"longer {when}"] / count
        return out
