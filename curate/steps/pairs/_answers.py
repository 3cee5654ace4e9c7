"""Answers to one prompt, gathered from rows, and the preference pairs that are made of them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from curate.kernels.text.words import words
from curate.row import Message, Record, Row, canonical_bytes, digest
from curate.step import Drop, Figures, Made, Product
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

    @cached_property
    def words(self) -> int:
        """How many words it has; a Chinese or Japanese character is one."""
        return sum(len(words(turn.text)) for turn in self.turns)

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
        """How many words the chosen answer has more than the rejected one."""
        return self.chosen.words - self.rejected.words

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


def prompt_key(row: Row) -> str:
    """Return a key of the turns that a row answers: equal prompts, equal keys."""
    return digest(canonical_bytes("prompt", {"prompt": prompt_of(row)})).hex()


def answers_of(
    rows: Sequence[Row], by: str | None = None, *, whole: bool = True
) -> list[ScoredAnswer]:
    """Return the answers of conversations and ranked rows, in order.

    A conversation has the score of the step `by`, a candidate of a ranked row its own.

    Raises:
        ValueError: a row has no answer, or (if they must be `whole`) answers that `respond` made
            for the same row are missing.
    """
    found, sets = [], dict[str, list[int]]()
    for row in rows:
        if row.kind == "ranked":
            found += [ScoredAnswer(row, c.messages, c.score, c.model) for c in row.candidates]
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
        score = None if by is None else row.scores.get(by)
        model = model if isinstance(model, str) else None
        found.append(ScoredAnswer(row, row.messages[-1:], score, model))
    for parent, made in sets.items():
        if whole and any(count != len(made) for count in made):
            raise ValueError(
                f"{len(made)} of {max(made)} answers to row {parent} are here: the others failed "
                "or were dropped on the way; filter after this step, or set whole: false"
            )
    return found


def made_pair(pair: ScoredPair, *, scored: bool) -> Made:
    """Return the preference row of a pair, its margin the gap of the scores where it is `scored`.

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
    beside = {name: value for name, value in zip(ORIGINS, known, strict=True) if value is not None}
    rows = [answer.row for answer in pair]
    columns = shared_columns(rows, (ANSWERED, "model", *ORIGINS)) | beside
    extra = json.dumps(columns, ensure_ascii=False) if columns else None
    parents = tuple(dict.fromkeys((chosen.row.id, rejected.row.id)))
    record = Record("preference", fields, extra, parents)
    detail = {"words": [chosen.words, rejected.words]}
    return Made(record, pair.gap if scored else None, detail)


def shared_columns(rows: Sequence[Row], dropped: Collection[str | None]) -> dict[str, Any]:
    """Return the columns in which all rows agree, but those `dropped`."""
    from curate.read.shapes.record_fields import extra_columns

    first, *others = map(extra_columns, rows)
    return {
        name: value
        for name, value in first.items()
        if name not in dropped and all(name in o and o[name] == value for o in others)
    }


def within_lengths(
    pairs: Sequence[ScoredPair],
    answers: Sequence[ScoredAnswer],
    *,
    most: int | None,
    words: int | None,
    scored: bool,
) -> list[Product]:
    """Return the first `most` pairs whose lengths differ by at most `words`, as made rows.

    Answers in none of them are dropped. Figures for `sum_lengths` compare these pairs with those
    that would be the first without the rule.
    """
    balanced = [pair for pair in pairs if words is None or abs(pair.longer) <= words]
    before, after = pairs[:most], balanced[:most]
    figures: dict[str, float] = {"pairs": len(after)}
    for name, own in (("before", before), ("after", after)):
        figures |= {
            f"count {name}": len(own),
            f"gap {name}": sum(pair.longer for pair in own),
            f"longer {name}": sum((pair.longer > 0) + (pair.longer == 0) / 2 for pair in own),
        }
    if not after:
        return [Drop(f"no two answers within {words} words"), Figures(figures)]
    used = {side.row.id for pair in after for side in pair}
    left = {one.row.id: one.score for one in answers if one.row.id not in used}
    drops = [Drop("in no pair of its prompt", score, row=row_id) for row_id, score in left.items()]
    return [*(made_pair(pair, scored=scored) for pair in after), *drops, Figures(figures)]


def sum_lengths(groups: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return how many pairs there are, and how much longer their chosen answers.

    `length gap` is the mean of words of the chosen answer less those of the rejected one, `chosen
    longer` the share of pairs in which it is the longer one, ties half; both before and after the
    rule about lengths.
    """
    total: dict[str, float] = {}
    for group in groups:
        for name, value in group.items():
            total[name] = total.get(name, 0.0) + value
    out = {"pairs": total.pop("pairs", 0.0)}
    for when in ("before", "after"):
        if count := total.pop(f"count {when}", 0.0):
            out[f"length gap {when}"] = total.pop(f"gap {when}") / count
            out[f"chosen longer {when}"] = total.pop(f"longer {when}") / count
    return out
