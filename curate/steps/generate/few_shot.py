"""Put examples before a question: few-shot composites of rows of one task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from curate.row import Message, Record, Row
from curate.step import Drop, Failed, Figures, FigureTotal, Gather, Made, Product

NO_EXAMPLE = "no other row to show as an example"
# A longer answer is not a label: no example may hold it.
LABEL_WORDS = 5
SHOTS = "shots"
# So many others a row looks at for examples, more for many shots: a large group would take the
# square of its size.
MOST_TRIED = 256


@dataclass(frozen=True, kw_only=True)
class FewShot(Gather):
    """Put examples of the same task before a row's question, for a share of the rows.

    `group_size` rows of one source, and of equal values in the columns of `per`, form a block.
    `per` lists columns (or `source`, `kind`) whose values examples must share. A `share` (rounded)
    of each block becomes few-shot prompts, drawn by the rows' own seeds; the other rows stay
    zero-shot. `shots` is the maximum number of examples, taken from other rows of the block. A
    few-shot prompt never contains its own answer: no example has the same question, was made from
    the same row, or contains the answer (if that is longer than five words). A row without any
    example stays zero-shot, or, at a `share` of 1, is dropped; at most 256 other rows or eight per
    shot are tried, drawn if a block has more. `form: text` puts the examples into the user's turn,
    separated by blank lines; `form: turns` makes them turns of a conversation. `question` and
    `answer` are the texts before each question and answer. Only conversations of one question and
    one answer are used (with a system prompt, which is kept); other rows pass. A few-shot row has a
    column `shots`, and names the rows that it shows as parents.
    """

    shots: int = 4
    share: float = 1.0
    per: tuple[str, ...] = ()
    form: Literal["text", "turns"] = "text"
    question: str = ""
    answer: str = ""
    group_size: int | None = 64

    source: ClassVar[str] = (
        "Longpre et al. 2023 (FLAN 2022), arXiv 2301.13688: mixed zero-shot and few-shot prompts"
    )

    def check(self) -> None:
        """Reject shares and sizes that are none."""
        if self.shots < 1:
            raise ValueError(f"shots is {self.shots}; it must be 1 or more")
        check_share("share", self.share)
        if self.group_size is not None and self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}; an example needs another row")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Composites are conversations, as those that they are made of."""
        return kinds

    def key(self, row: Row) -> str:
        """Return the row's task."""
        return task_key(row, self.per)

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Make composites of a share of the block's rows."""
        able = [row for row in rows if exchange_of(row) is not None]
        drawn = {row.id for row in drawn_rows(able, self.share, self.title)}
        compared = {row.id: Compared.of(row) for row in able}
        made: list[Product] = []
        counts = {"zero-shot": float(len(rows) - len(drawn)), "few-shot": 0.0, "examples": 0.0}
        for row in rows:
            if row.id not in drawn:
                made.append(row)
                continue
            dice, most = row.random(self.title), max(MOST_TRIED, 8 * self.shots)
            others = list(able) if len(able) <= most else dice.sample(able, most)
            dice.shuffle(others)
            # Each question once: a copy teaches nothing more.
            different: dict[str, Row] = {}
            for other in others:
                if len(different) == self.shots:
                    break
                if not compared[row.id].given_away_by(compared[other.id]):
                    different.setdefault(compared[other.id].question, other)
            examples = list(different.values())
            if not examples and self.share < 1:
                made.append(row)
                counts["zero-shot"] += 1
                continue
            if not examples:
                made.append(Drop(NO_EXAMPLE, row=row.id))
                continue
            made.append(self._composite(row, examples))
            counts["few-shot"] += 1
            counts["examples"] += len(examples)
        return [*made, Figures(counts)]

    def figures(self, found: Mapping[str, FigureTotal]) -> Mapping[str, float]:
        """Return how many rows stayed zero-shot, became few-shot, and show how many examples."""
        return {name: own.sum for name, own in found.items()}

    def _composite(self, row: Row, examples: Sequence[Row]) -> Made | Failed:
        from curate.read.shapes.record_fields import extra_columns

        before = [turn for turn in row.messages if turn.role == "system"]
        if self.form == "turns":
            turns = [turn for one in examples for turn in exchange_of(one) or ()]
            turns = [*before, *turns, *(exchange_of(row) or ())]
        else:
            texts = [f"{self._asked(one)}{one.response}" for one in examples]
            asked = "\n\n".join([*texts, self._asked(row).rstrip()])
            turns = [*before, Message("user", asked), Message("assistant", row.response)]
        columns = extra_columns(row)
        parents = (row.id, *(one.id for one in examples))
        extra = json.dumps({**columns, SHOTS: len(examples)}, ensure_ascii=False)
        record = Record("sft", {"messages": tuple(turns)}, extra, parents)
        if SHOTS in columns:
            return Failed(f"the row has a column '{SHOTS}' already; rename it", record)
        return Made(record, detail={SHOTS: len(examples)})

    def _asked(self, row: Row) -> str:
        return f"{self.question}{row.instruction}\n{self.answer}"


def check_share(name: str, share: float) -> None:
    """Raise `ValueError` unless `share` lies from 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is {share:g}; it must be a number from 0 to 1")


def task_key(row: Row, per: Sequence[str]) -> str:
    """Return a row's source and its values of the columns `per` as one text."""
    from curate.kernels.arrays.groups import group_of

    return "\x1f".join([row.source or "", *(group_of(row, name) for name in per)])


def exchange_of(row: Row) -> tuple[Message, Message] | None:
    """Return a conversation's only question and its answer; `None`: it has more, or blank texts."""
    if row.kind != "sft":
        return None
    turns = [turn for turn in row.messages if turn.role != "system"]
    if [turn.role for turn in turns] != ["user", "assistant"] or row.attached("whole"):
        return None
    question, answer = turns
    return (question, answer) if question.content.strip() and answer.content.strip() else None


def drawn_rows(rows: Sequence[Row], share: float, label: str) -> list[Row]:
    """Return `share` of the rows (a half rounded up): those whose own seeds drew the lowest."""
    import math
    from fractions import Fraction

    from curate.kernels.arrays.groups import draw_of

    count = math.floor(Fraction(str(share)) * len(rows) + Fraction(1, 2))
    ordered = sorted(rows, key=lambda row: draw_of(row.id, f"{label} drawn", row.run_seed))
    return ordered[:count]


def plain_text(text: str) -> str:
    """Return a text in which case and space make no difference."""
    return " ".join(text.casefold().split())


class Compared(NamedTuple):
    """What decides whether two rows may stand in one composite: their origins, and plain texts."""

    origins: frozenset[str]
    question: str
    answer: str
    is_label: bool

    @classmethod
    def of(cls, row: Row) -> Compared:
        """Return a row's part of the comparison."""
        question, answer = plain_text(row.instruction), plain_text(row.response)
        short = len(answer.split()) <= LABEL_WORDS
        return cls(frozenset((row.id, *row.parents)), question, answer, short)

    def given_away_by(self, other: Compared) -> bool:
        """Tell whether showing `other` gives this row's answer away, or repeats its question."""
        if not self.origins.isdisjoint(other.origins):
            return True
        if self.question in (other.question, other.answer) or self.answer == other.question:
            return True
        return not self.is_label and (self.answer in other.question or self.answer in other.answer)
