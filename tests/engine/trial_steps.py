"""Operators as third parties write them: best of several, few-shot composites, a growing pool."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from curate.ask import Ask
from curate.row import Message, Record, Row
from curate.step import (
    Asking,
    Drop,
    Failed,
    Figures,
    Gather,
    Generate,
    Grow,
    Made,
    Pool,
    Product,
    Scored,
    dataclass,
    rule,
)

from .contract_steps import number_in


def answer(text: str, reply: str) -> Record:
    return Record("sft", {"messages": (Message("user", text), Message("assistant", reply))})


@dataclass(frozen=True, kw_only=True)
class Samples(Generate):
    """Ask several times: a bad reply fails alone, and others get their number as score."""

    model: str = "writer"
    samples: int = 5
    bad: str = "bad"
    scores_made: ClassVar[bool] = True

    def make(self, row: Row) -> Asking:
        asks = [
            Ask.text(row.instruction, model=self.model, sample=sample, max_tokens=9)
            for sample in range(self.samples)
        ]
        made: list[Product] = []
        for sample, reply in enumerate((yield asks)):
            record = answer(row.instruction, reply.text)
            if self.bad in reply.text:
                made.append(Failed(ValueError("cut off"), record, reply))
            else:
                made.append(Made(record, float(number_in(reply.text)), {"sample": sample}))
        return made


@dataclass(frozen=True, kw_only=True)
class BestOf(Gather):
    """Keep the best answer of each prompt; the group must be whole."""

    size: int = 5
    margin: float | None = rule(None)

    def expects(self, row: Row) -> int:
        return self.size

    def key(self, row: Row) -> str:
        return row.instruction

    def make(self, rows: Sequence[Row]) -> list[Product]:
        ranked = sorted(rows, key=lambda row: -(row.scores.get("samples") or 0.0))
        best, *others = ranked
        spread = (best.scores["samples"] or 0.0) - (ranked[-1].scores["samples"] or 0.0)
        drops = [
            Drop(f"answer {place} of {len(rows)}", row.scores["samples"], row=row.id)
            for place, row in enumerate(others, 2)
        ]
        return [best, *drops, Figures({"spread": spread})]


@dataclass(frozen=True, kw_only=True)
class Shots(Gather):
    """Join as many rows as come next into one prompt."""

    group_size: int | None = 4
    topics: int = 3

    def key(self, row: Row) -> str:
        return str(number_in(row.instruction) % self.topics)

    def make(self, rows: Sequence[Row]) -> Record:
        text = "\n".join(row.instruction for row in rows)
        return Record("prompt", {"prompt": (Message("user", text),)})


class _Scoring(Pool):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows, self.texts = list(rows), {row.instruction for row in rows}

    def accept(self, record: Record, row_id: str) -> Drop | Scored | None:
        text = record.fields["prompt"][0].content
        if text in self.texts:
            return Drop("not new", 1.0)
        self.texts.add(text)
        self.rows.append(Row(row_id, (), record.kind, record.fields))
        return Scored(float(len(text)), {"against": len(self.texts)})

    def sample(self, random: Random) -> Sequence[Row]:
        return random.sample(self.rows, 1)


@dataclass(frozen=True, kw_only=True)
class TwoSteps(Grow):
    """Ask for a topic, then for a task about it: two requests, the second on the first reply."""

    model: str = "writer"
    round_size: int = 4
    shortest: int = rule(0)
    scores_made: ClassVar[bool] = True

    def pool(self, rows: Sequence[Row]) -> Pool:
        return _Scoring(rows)

    def propose(self, sample: Sequence[Row], random: Random) -> Asking:
        topic = yield Ask.text(f"a topic, {random.randrange(40)};", model=self.model, max_tokens=9)
        task = yield Ask.text(f"a task about {topic.text}", model=self.model, max_tokens=9)
        record = Record("prompt", {"prompt": (Message("user", task.text),)})
        if "3" in task.text:
            return [Failed("a bad task", record, task)]
        return [Made(record, None, {"topic": topic.text})]
