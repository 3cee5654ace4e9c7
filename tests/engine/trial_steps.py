"""Operators and a reward model as third parties write them; entry points may name them.

Critique and revision, pairwise judging, best of several by a reward, few-shot composites, and a
pool that grows by two dependent requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from curate.ask import Ask, Choose, Reply, Request, Reward
from curate.errors import UnusableReply
from curate.row import Message, Record, Row
from curate.step import (
    Asking,
    Drop,
    Failed,
    Figures,
    Filter,
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
class BestAnswer(Gather):
    """Keep the best answer of each prompt; the group must be whole."""

    size: int = 5
    by: str = "samples"
    margin: float | None = rule(None)

    def expects(self, row: Row) -> int:
        return self.size

    def key(self, row: Row) -> str:
        return row.instruction

    def make(self, rows: Sequence[Row]) -> list[Product]:
        scores = {row.id: row.scores.get(self.by) or 0.0 for row in rows}
        best, *others = sorted(rows, key=lambda row: -scores[row.id])
        spread = scores[best.id] - scores[others[-1].id]
        if self.margin is not None and spread < self.margin:
            return [Drop(f"answers within {self.margin}", spread)]
        drops = [
            Drop(f"answer {place} of {len(rows)}", scores[row.id], row=row.id)
            for place, row in enumerate(others, 2)
        ]
        return [best, *drops, Figures({"spread": spread})]


@dataclass(frozen=True, kw_only=True)
class Rated(Filter):
    """Score an answer by a reward model."""

    model: str = "reward"
    at_least: float | None = rule(None)

    def score(self, row: Row) -> Asking:
        turns = (Message("user", row.instruction), Message("assistant", row.response))
        reply = yield Reward(messages=turns, model=self.model)
        if not reply.values:
            raise UnusableReply("no score", key=reply.key)
        return reply.values[0]

    def keep(self, score: float | None) -> str | None:
        low = self.at_least is not None and score is not None and score < self.at_least
        return f"reward below {self.at_least}" if low else None


class LastNumber:
    """A reward model: the last turn's number, by which rows are told apart; some cannot be read."""

    forms: ClassVar[tuple[str, ...]] = ("reward",)
    options: ClassVar[tuple[str, ...]] = ("scale",)
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 16

    def __init__(self, name: str, options: Mapping[str, float]) -> None:
        self.scale = options.get("scale", 1.0)

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        found = []
        for request in requests:
            assert isinstance(request, Reward)
            number = number_in(request.messages[-1].content)
            found.append(Reply(values=() if number == 53 else (self.scale * number,)))
        return found


@dataclass(frozen=True, kw_only=True)
class Critique(Generate):
    """Ask what is wrong with an answer, then for a better one: a conversation and a preference."""

    model: str = "writer"

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        return frozenset({"sft", "preference"})

    def make(self, row: Row) -> Asking:
        about = f"{row.instruction} {row.response}"
        critique = yield Ask.text(f"Criticise: {about}", model=self.model, max_tokens=12)
        asked = f"Revise: {about} Since {critique.text}"
        better = yield Ask.text(asked, model=self.model, max_tokens=12)
        if better.text == "no":
            raise UnusableReply("no revision", key=better.key)
        turns = [(Message("assistant", text),) for text in (better.text, row.response)]
        pair = {
            "prompt": (Message("user", row.instruction),),
            "chosen": turns[0],
            "rejected": turns[1],
            "margin": None,
            "p_chosen": None,
        }
        evidence = {"critique": critique.text}
        return [
            Made(answer(row.instruction, better.text), None, evidence),
            Made(Record("preference", pair), None, evidence),
        ]


@dataclass(frozen=True, kw_only=True)
class Pairwise(Filter):
    """Judge two answers in both orders, and a third time where the orders disagree.

    The score is the mean log-odds that the chosen answer is the better one.
    """

    model: str = "judge"
    at_least: float | None = rule(None)

    def score(self, row: Row) -> Asking:
        first, second = (row.fields[n][-1].content for n in ("chosen", "rejected"))
        replies = yield [
            self._choice(row, first, second, "Which is better?"),
            self._choice(row, second, first, "Which is better?"),
        ]
        odds = [
            sign * (r.values[0] - r.values[1]) for sign, r in zip((1, -1), replies, strict=True)
        ]
        if odds[0] * odds[1] <= 0:
            third = yield self._choice(row, first, second, "They seem alike. Which is better?")
            odds.append(third.values[0] - third.values[1])
        return Scored(sum(odds) / len(odds), {"tie": len(odds) > 2})

    def _choice(self, row: Row, one: str, other: str, question: str) -> Choose:
        text = f"{row.instruction}\nA: {one}\nB: {other}\n{question}"
        turns = (Message("user", text),)
        return Choose(messages=turns, options=("A", "B"), model=self.model)

    def keep(self, score: float | None) -> str | None:
        low = self.at_least is not None and score is not None and score < self.at_least
        return "the rejected answer is better" if low else None


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
    topics: int = 40
    bad: str = "3"
    shortest: int = rule(0)
    scores_made: ClassVar[bool] = True

    def pool(self, rows: Sequence[Row]) -> Pool:
        return _Scoring(rows)

    def propose(self, sample: Sequence[Row], random: Random) -> Asking:
        topic = yield Ask.text(
            f"a topic, {random.randrange(self.topics)};", model=self.model, max_tokens=9
        )
        task = yield Ask.text(f"a task about {topic.text}", model=self.model, max_tokens=9)
        record = Record("prompt", {"prompt": (Message("user", task.text),)})
        if self.bad in task.text:
            return [Failed("a bad task", record, task)]
        return [Made(record, None, {"topic": topic.text})]


@dataclass(frozen=True, kw_only=True)
class RatedBest(Filter):
    """Let a model give the best answer a number, after its group was decided."""

    model: str = "judge"
    at_least: float | None = rule(None)

    def score(self, row: Row) -> Asking:
        reply = yield Ask.text(f"Rate this: {row.response}", model=self.model, max_tokens=8)
        return float(reply.text)

    def keep(self, score: float | None) -> str | None:
        low = self.at_least is not None and score is not None and score < self.at_least
        return f"rated below {self.at_least}" if low else None
