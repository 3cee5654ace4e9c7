"""What the conformance test needs: fixed rows of every kind, and a driver with made-up replies."""

import inspect
import json
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pyarrow as pa

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import UnusableReply
from curate.row import Candidate, Message, Record, Row, canonical_bytes, digest, occurrence_id
from curate.step import (
    EMBEDDING,
    Asking,
    Drop,
    Failed,
    Filter,
    Gather,
    Generate,
    Grow,
    Made,
    Scored,
    Step,
    Whole,
)

# The dimension of made-up vectors.
WIDTH = 8
# Texts that steps stumble over: empty, short, long, repeated, personal, foreign, odd.
TEXTS = (
    "",
    "Hi",
    "How many legs do three spiders have, if none of them has lost one on the way home?",
    "Write to jane.doe@example.org or call +1 (415) 555-2671 before noon; 192.168.0.1 is down.",
    "The same line again and again.\n" * 8,
    "Ein Satz auf Deutsch, mit Umlauten: äöü ß. Und noch einer, damit es genug Wörter sind.",
    "漢字かな交じり文と emoji 👩‍👩‍👧 and \u200bzero width, \x00 NUL, \x1b[31m escape",
    "As an AI language model, I cannot say. " + "word " * 60,
    "def f(x):\n    return {'a': [1, 2, 3]}  # 50% of £3",
)


def _turns(user: str, answer: str) -> tuple[Message, ...]:
    return (Message("user", user), Message("assistant", answer))


def _fields(kind: str, one: str, two: str) -> dict[str, Any]:
    prompt, answer = (Message("user", one),), (Message("assistant", two),)
    other = (Message("assistant", two[::-1]),)
    return {
        "prompt": {"prompt": prompt},
        "sft": {"messages": (Message("system", "Be brief."), *_turns(one, two))},
        "preference": {
            "prompt": prompt,
            "chosen": answer,
            "rejected": other,
            "margin": 0.5,
            "p_chosen": None,
        },
        "ranked": {
            "prompt": prompt,
            "candidates": (Candidate(answer, 3.0, "m"), Candidate(other, None, None)),
        },
        "unpaired": {"prompt": prompt, "completion": answer, "label": len(two) % 2 == 0},
    }[kind]


def rows_of_kind(kind: str, step: Step) -> list[Row]:
    """Return fixed rows of `kind`, two of them equal, with every score that `step` reads."""
    pairs = list(zip(TEXTS, (*TEXTS[3:], *TEXTS[:3]), strict=True))
    rows = []
    for index, (one, two) in enumerate([*pairs, pairs[2]]):
        fields = _fields(kind, one, two)
        row_id = occurrence_id(digest(canonical_bytes(kind, fields)), int(index == len(pairs)))
        scores = {label: float(index * 7 % 5) for label in step.reads_scores()}
        extra = json.dumps({"origin": "ab"[index % 2], "n": index})
        rows.append(Row(row_id.hex(), (0, 0, index), kind, fields, "data", extra, scores=scores))
    return rows


class Driver:
    """Answer every request the same way each time, and remember what was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def drive(self, work: Any) -> Any:
        """Return what a call of a step comes to, its requests answered."""
        if not inspect.isgenerator(work):
            return work
        asking: Asking = work
        answer: Any = None
        try:
            while True:
                wanted = asking.send(answer)
                many = not isinstance(wanted, Request)
                replies = [self._reply(r) for r in (wanted if many else [wanted])]  # type: ignore[union-attr,list-item]
                answer = replies if many else replies[0]
        except StopIteration as end:
            return end.value
        except (UnusableReply, ValueError) as error:
            return Scored(None, {"failed": str(error)})  # a failed row is an outcome, too

    def _reply(self, request: Request) -> Reply:
        self.asked.append(request)
        random = Random(json.dumps(request.content(), sort_keys=True))
        if isinstance(request, Embed):
            return Reply(values=tuple(map(_vector, request.texts)))
        if isinstance(request, TurnLikelihood):
            return Reply(values=tuple(-random.random() for _ in request.messages))
        if isinstance(request, Likelihood):
            return Reply(values=tuple(-random.random() for _ in request.answer.split()))
        if isinstance(request, Reward):
            return Reply(values=(random.gauss(0, 1),))
        if isinstance(request, Choose):
            return Reply(values=tuple(-random.random() for _ in request.options))
        assert isinstance(request, Ask)
        return Reply(text=f"{random.randint(1, 5)}\nA made-up reply.")


def embedded(step: Whole, sketches: pa.Table) -> pa.Table:
    """Return sketches as `decide` gets them: texts have become vectors, empty ones zeros."""
    for place, (name, type_) in enumerate(step.sketch_types().items()):
        if type_ == EMBEDDING:
            lines = [_vector(text or "") for text in sketches.column(name).to_pylist()]
            column = pa.array(lines, pa.list_(pa.float32(), WIDTH))
            sketches = sketches.set_column(place, name, column)
    return sketches


def _vector(text: str) -> list[float]:
    random = Random(text)
    return [random.gauss(0, 1) if text.strip() else 0.0 for _ in range(WIDTH)]


def made_by(answer: Any, row: Row | None) -> list[Any]:
    """Return what `make` answered as `make_many` would: nothing for a row that passes."""
    if answer is None or isinstance(answer, Scored):
        return []
    one = isinstance(answer, Row | Record | Drop | Made | Failed)
    made = [answer] if one else list(answer)
    return [] if made == [row] else made


def _score_or_failure(step: Filter, row: Row, driver: Driver) -> Scored:
    """Return a row's score, or the error of one that fails: that is an outcome, too."""
    try:
        return scored(driver.drive(step.score(row)))
    except ValueError as error:
        return Scored(None, {"failed": str(error)})


def _made_or_failure(step: Generate, row: Row, driver: Driver) -> list[Any]:
    """Return what is made of a row, or the error of one that fails: that is an outcome, too."""
    try:
        return made_by(driver.drive(step.make(row)), row)
    except ValueError as error:
        return [Failed(str(error))]


def outcome(step: Step, rows: Sequence[Row], driver: Driver) -> Any:
    """Return all that `step` says of `rows`, one row at a time, as data that compares."""
    if isinstance(step, Filter):
        return [_score_or_failure(step, row, driver) for row in rows]
    if isinstance(step, Generate):
        return [_made_or_failure(step, row, driver) for row in rows]
    if isinstance(step, Gather):
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(step.key(row), []).append(row)
        return {key: gathered(step, group, driver) for key, group in groups.items()}
    if isinstance(step, Grow):
        try:
            shown = step.pool(rows).sample(Random(1))
        except ValueError as error:
            return [Failed(str(error))]  # it cannot begin with such rows
        found = driver.drive(step.propose(shown, Random(2)))
        return [] if isinstance(found, Scored) else list(found)
    assert isinstance(step, Whole)
    return [driver.drive(step.sketch(row)) for row in rows]


def _made_or_failure(step: Generate, row: Row, driver: Driver) -> list[Any]:
    """Return what is made of a row, or the error of one that fails: that is an outcome, too."""
    try:
        return made_by(driver.drive(step.make(row)), row)
    except ValueError as error:
        return [Failed(str(error))]


def gathered(step: Gather, group: Sequence[Row], driver: Driver) -> list[Any]:
    """Return what `step` makes of a group; one that cannot be used fails, which is an outcome."""
    try:
        return made_by(driver.drive(step.make(group)), None)
    except ValueError as error:
        return [Failed(str(error))]


def scored(score: Any) -> Scored:
    """Return a score in its long form."""
    return score if isinstance(score, Scored) else Scored(score)


def same(one: Any, other: Any) -> bool:
    """Compare data in which NaN equals itself and arrays are lists."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, Exception) and isinstance(other, Exception):
        return type(one) is type(other) and str(one) == str(other)
    one, other = (v.tolist() if hasattr(v, "tolist") else v for v in (one, other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def reworded(row: Row, change: Callable[[Message], bool]) -> Row:
    """Return `row` with other words in every turn that `change` picks."""
    fields = {
        name: tuple(
            turn._replace(content=turn.content + " quite other words") if change(turn) else turn
            for turn in value
        )
        for name, value in row.fields.items()
        if isinstance(value, tuple) and all(isinstance(turn, Message) for turn in value)
    }
    return row._replace(fields={**row.fields, **fields})
