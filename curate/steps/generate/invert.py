"""Turn rows around: from an answer to its question (input inversion)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.errors import CurateError
from curate.prompts import collection as collections
from curate.prompts.collection import TemplateFault
from curate.row import Message, Record, Row
from curate.step import Failed, Figures, FigureTotal, Gather, Made, Product
from curate.steps.generate.few_shot import check_share, drawn_rows, exchange_of, task_key
from curate.steps.generate.template import columns_of

INVERTED = "inverted"


@dataclass(frozen=True, kw_only=True)
class Invert(Gather):
    """Add rows that ask for the question of an answer, for a share of the rows.

    `rate` is the share (rounded) of rows to invert in every block, drawn by the rows' own seeds.
    `group_size` is the number of rows of one source per block; the last block may be smaller. Each
    drawn row is kept, and a new row asks, in the words of a template, which question the answer
    replies to. `collection` is the file of templates, or the name of an included one. Templates see
    `instruction`, `response` and the row's columns. Only conversations of one question and one
    answer are used; other rows pass. An inverted row has a column `inverted` with the template's
    name.
    """

    rate: float = 0.3
    collection: str = "inversion"
    group_size: int | None = 100

    source: ClassVar[str] = "Longpre et al. 2023 (FLAN 2022), arXiv 2301.13688: input inversion"

    def check(self) -> None:
        """Reject a rate that is none."""
        check_share("rate", self.rate)
        if self.group_size is not None and self.group_size < 1:
            raise ValueError(f"group_size is {self.group_size}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the collection."""
        try:
            collections.load(self.collection)
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add a digest of the templates: a changed file is another step under the same name."""
        return {**super().fingerprint(), "collection_text": collections.digest(self.collection)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Inverted rows are conversations, as those that they are made of."""
        return kinds

    def key(self, row: Row) -> str:
        """Return the row's source."""
        return task_key(row, ())

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Let all rows pass, and invert some."""
        able = [row for row in rows if exchange_of(row) is not None]
        drawn = sorted(drawn_rows(able, self.rate, self.title), key=lambda row: row.seq)
        counts = {"rows": float(len(rows)), "inverted": float(len(drawn))}
        return [*rows, *map(self._inverted, drawn), Figures(counts)]

    def figures(self, found: Mapping[str, FigureTotal]) -> Mapping[str, float]:
        """Return the numbers of rows, of inverted ones, and their share."""
        total = {name: own.sum for name, own in found.items()}
        return {**total, "rate": total["inverted"] / total["rows"]}

    def _inverted(self, row: Row) -> Made | Failed:
        from curate.read.shapes.record_fields import extra_columns

        random = row.random(self.title)
        template = random.choice(collections.load(self.collection).templates)
        columns = extra_columns(row)
        known = Record("sft", {"messages": ()}, parents=(row.id,))
        try:
            task = template.render(columns_of(row), random.getrandbits(64))
            if not task.input or not task.target or INVERTED in columns:
                why = (
                    "renders an empty text"
                    if INVERTED not in columns
                    else (f"cannot add a column '{INVERTED}', which the row has already")
                )
                raise TemplateFault(f"template '{template.name}' {why}")
        except ValueError as fault:
            return Failed(str(fault), known)
        turns = (Message("user", task.input), Message("assistant", task.target))
        extra = json.dumps({**columns, INVERTED: template.name}, ensure_ascii=False)
        return Made(Record("sft", {"messages": turns}, extra, (row.id,)))
