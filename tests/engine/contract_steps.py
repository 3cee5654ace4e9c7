"""Steps that together use every part of the contract; the tests of the engine run them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa

from curate.ask import Ask
from curate.errors import UnusableReply
from curate.row import Message, Record, Row
from curate.step import (
    Asking,
    Drop,
    Filter,
    Gather,
    Generate,
    Grow,
    Pool,
    Product,
    Verdicts,
    Whole,
    dataclass,
    rule,
)


def number_in(text: str) -> int:
    """Return the first number of a text, -1 without one: test rows are numbered."""
    digits = "".join(c if c.isdigit() else " " for c in text).split()
    return int(digits[0]) if digits else -1


@dataclass(frozen=True, kw_only=True)
class Judge(Filter):
    """Score a row by a model's number."""

    model: str = "judge"
    at_least: float | None = rule(5.0)

    def score(self, row: Row) -> Asking:
        reply = yield Ask.text(f"Rate this: {row.response}", model=self.model, max_tokens=8)
        try:
            return float(reply.text)
        except ValueError:
            raise UnusableReply(f"no number in {reply.text!r}") from None

    def keep(self, score: float | None) -> str | None:
        if self.at_least is not None and score is not None and score < self.at_least:
            return f"rated below {self.at_least}"
        return None


@dataclass(frozen=True, kw_only=True)
class TwoReplies(Generate):
    """Ask twice and make a pair of the answers, or nothing when they agree."""

    model: str = "writer"

    def make(self, row: Row) -> Asking:
        text = row.instruction
        one, two = yield [Ask.text(text, model=self.model, sample=s, max_tokens=16) for s in (0, 1)]
        if one.text == two.text:
            return []
        answers = [(Message("assistant", reply.text),) for reply in (one, two)]
        fields = {"prompt": (Message("user", text),), "chosen": answers[0], "rejected": answers[1]}
        return [Record("preference", {**fields, "margin": 1.0, "p_chosen": None}, row.extra)]


@dataclass(frozen=True, kw_only=True)
class Many(Generate):
    """Make 0 to 3 rows, some refused at once; raise on some rows, pass others."""

    def make(self, row: Row) -> list[Product]:
        number = number_in(row.instruction)
        if number % 11 == 5:
            raise RuntimeError(f"row {number} is unlucky")
        if number % 7 == 3:
            return [row]
        if number % 7 == 4:
            return [Drop("refused by hand", 0.5)]
        made: list[Product] = [
            Record(
                "sft",
                {"messages": (Message("user", f"{number} child {k}"), Message("assistant", "x"))},
            )
            for k in range(number % 4)
        ]
        if number % 4 == 3:
            made[1] = Drop("no second child", record=made[1])  # type: ignore[arg-type]
        return made


@dataclass(frozen=True, kw_only=True)
class Fragile(Filter):
    """Raise on some rows, give no score to others."""

    below: float | None = rule(8.0)

    def score(self, row: Row) -> float | None:
        number = number_in(row.instruction)
        if number % 13 == 6:
            raise KeyError("missing")
        return None if number % 5 == 4 else float(number % 10)

    def keep(self, score: float | None) -> str | None:
        return (
            "too big"
            if score is not None and self.below is not None and score >= self.below
            else None
        )


@dataclass(frozen=True, kw_only=True)
class Modulo(Whole):
    """Keep the first row of each remainder; fail the sketch of some rows."""

    divisor: int = 17

    def sketch_types(self) -> dict[str, str]:
        return {"rest": "int64"}

    def sketch(self, row: Row) -> dict[str, int]:
        number = number_in(row.instruction)
        if number % 19 == 8:
            raise ValueError("no sketch")
        return {"rest": number % self.divisor}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        rest = sketches.column("rest").to_numpy()
        _, first, inverse = np.unique(rest, return_index=True, return_inverse=True)
        partner = first[inverse]
        dropped = partner != positions
        return Verdicts(
            code=np.where(dropped, 0, -1),
            reasons=("same remainder",),
            score=np.where(dropped, 1.0, np.nan),
            partner=np.where(dropped, partner, -1),
            notes=[None if d else {"rest": int(r)} for d, r in zip(dropped, rest, strict=True)],
        )


@dataclass(frozen=True, kw_only=True)
class Couples(Gather):
    """Join the first two rows of each group; a third one is in no made row."""

    groups: int = 9

    def key(self, row: Row) -> str:
        number = number_in(row.instruction)
        if number % 23 == 9:
            raise ValueError("no key")
        return str(number % self.groups)

    def make(self, rows: Sequence[Row]) -> list[Record]:
        if len(rows) % 5 == 4:
            raise RuntimeError("this group is unlucky")
        two = rows[:2]
        text = " + ".join(row.instruction for row in two)
        turns = (Message("user", text), Message("assistant", "joined"))
        return [Record("sft", {"messages": turns}, parents=tuple(row.id for row in two))]


class _Texts(Pool):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.seen = {row.instruction: row.id for row in rows}

    def accept(self, record: Record, row_id: str) -> Drop | None:
        text = record.fields["prompt"][0].content
        if text in self.seen:
            return Drop("not new", 1.0, partner=self.seen[text])
        self.seen[text] = row_id
        self.rows.append(Row(row_id, (), record.kind, record.fields))
        return None

    def sample(self, random: Random) -> Sequence[Row]:
        return random.sample(self.rows, min(2, len(self.rows)))


@dataclass(frozen=True, kw_only=True)
class Novel(Grow):
    """Ask for new prompts; keep those that are new."""

    model: str = "writer"
    topics: int = 40

    def pool(self, rows: Sequence[Row]) -> Pool:
        return _Texts(rows)

    def propose(self, sample: Sequence[Row], random: Random) -> Asking:
        reply = yield Ask.text(
            f"topic {random.randrange(self.topics)};", model=self.model, max_tokens=16
        )
        if reply.text == "bad":
            raise UnusableReply("a bad reply")
        return [Record("prompt", {"prompt": (Message("user", t),)}) for t in reply.text.split("|")]


def write_script(path: Path, entries: Iterable[dict]) -> Path:
    """Write a scripted model's file."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def judge_script(count: int) -> list[dict]:
    """Replies for `Judge` over numbered and made rows: numbers, a few unusable, a few faults."""
    entries = []
    for n in range(count):
        entry: dict = {
            "when": {"messages": [{"role": "user", "content": f"Rate this: answer {n}"}]}
        }
        entry["reply"] = "no idea" if n % 31 == 7 else str(n % 10)
        entry["usage"] = {"input_tokens": 10, "output_tokens": 1}
        if n % 17 == 3:
            entry |= {"fault": "server", "times": 2}
        if n % 53 == 11:
            entry |= {"fault": "rate_limit", "times": None}
        entries.append(entry)
    # Rows that steps made are asked about, too: as many alike refusals would end the run.
    entries.append({"when": {}, "reply": "5"})
    return entries


def writer_script(count: int) -> list[dict]:
    """Replies for `TwoReplies` over numbered and made rows, and for `Novel`'s topics."""
    entries: list[dict] = []
    for n in range(count):
        texts = [f"first {n}", f"first {n}" if n % 6 == 1 else f"second {n}"]
        when = {"messages": [{"role": "user", "content": f"question {n}"}]}
        entries.append({"when": when, "reply": texts})
    for n in range(40):
        text = "bad" if n == 7 else f"new {n}|also {n % 5}"
        entry: dict = {"when": {"contains": f"topic {n};"}, "reply": text}
        if n % 9 == 2:
            entry |= {"fault": "timeout", "times": 1}
        entries.append(entry)
    entries.append({"when": {}, "reply": ["first of a made row", "second of a made row"]})
    return entries


def numbered(count: int, repeat_every: int = 9) -> list[dict]:
    """Alpaca-like rows, numbered; every ninth repeats an earlier one."""
    return [
        {"instruction": f"question {m}", "input": "", "output": f"answer {m}", "origin": f"o{n}"}
        for n in range(count)
        for m in [n - 4 if n % repeat_every == 8 else n]
    ]
