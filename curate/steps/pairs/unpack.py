"""Make a conversation of each answer of a pair or a list, so that steps for one answer see all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from curate.row import Candidate, Record, Row
from curate.step import Generate, Made
from curate.steps.generate.respond import ANSWERED, Answered, answered_of

UNPACKED = "unpacked"


@dataclass(frozen=True, kw_only=True)
class Unpack(Generate):
    """Make a conversation of each answer of a preference pair or of ranked candidates.

    Every step that scores a conversation (`rubric`, `reward_score`, `scar`) can then score each of
    them, and `pairs`, `delta` or `best_of` combine them again by the new score. As with `respond`,
    the column `answered` of a conversation records which model wrote its answer, to which row, and
    how many there are; the column `unpacked` has its position in that row, from 0, and everything
    for which a conversation has no field: the side, margin and probability of a pair, the score and
    extra fields of a candidate. `columns` turns extra fields into columns, as in `{set: origin}`.
    The old score is also the row's own, for `by: unpack`. With `side`, only that side of a pair
    becomes a conversation, as supervised fine-tuning on the chosen answers needs it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    side: Literal["chosen", "rejected"] | None = None

    source: ClassVar[str] = "common"
    kinds: ClassVar[tuple[str, ...]] = ("preference", "ranked")
    scores_made: ClassVar[bool] = True

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> list[Made]:
        """Write one conversation for each answer."""
        columns = json.loads(row.extra or "{}")
        taken = [name for name in (UNPACKED, *self.columns) if name in columns]
        if ANSWERED in columns and answered_of(row) is None:
            taken.append(ANSWERED)
        if taken:
            raise ValueError(f"the row has a column '{taken[0]}' already; rename it")
        if row.kind == "ranked":
            if self.side is not None:
                raise ValueError(
                    "side is for pairs, and ranked candidates have none: leave it out, and keep "
                    "the best with best_of: {by: unpack}"
                )
            answers: list[tuple[Candidate, dict[str, Any]]] = [(one, {}) for one in row.candidates]
        else:
            pair = {name: row.fields.get(name) for name in ("margin", "p_chosen")}
            answers = [
                (_candidate(row, side, columns), {"side": side, **pair})
                for side in ("chosen", "rejected")
                if self.side in (None, side)
            ]
        if not answers:
            raise ValueError("the row has no candidates, so there is nothing to unpack")
        made = []
        first = 1 if self.side == "rejected" else 0
        for place, (one, more) in enumerate(answers, first):
            if not one.messages:
                raise ValueError(f"answer {place} has no turns; drop such rows first")
            beside = json.loads(one.extra) if one.extra else {}
            known = {**more, "score": one.score, "extra": beside or None}
            own = {name: value for name, value in known.items() if value is not None}
            extra = {
                **columns,
                **{name: beside[key] for name, key in self.columns.items() if key in beside},
                ANSWERED: Answered(one.model, row.id, len(answers))._asdict(),
                UNPACKED: {"place": place, **own},
            }
            fields = {"messages": (*row.prompt, *one.messages)}
            record = Record("sft", fields, json.dumps(extra, ensure_ascii=False))
            made.append(Made(record, one.score))
        return made


def _candidate(row: Row, side: str, columns: Mapping[str, Any]) -> Candidate:
    """Return one side of a pair, with what columns of the row say of it."""
    model, score = columns.get(f"{side}_model"), columns.get(f"{side}_score")
    known = score if isinstance(score, int | float) and not isinstance(score, bool) else None
    return Candidate(row.fields[side], known, model if isinstance(model, str) else None)
