"""Which rows are shown to whom, in which order, and what is asked of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from curate.chunk import SCORE, Chunk, rows_of
from curate.errors import UsageError
from curate.kernels.arrays.agreement import midranks
from curate.read.decisions import standard_ranks
from curate.review.label_events import DECISIONS, Label, ranks_in
from curate.row import Message, Row, seed_of
from curate.runs.report import ENDINGS
from curate.runs.rows import Rows, endings

if TYPE_CHECKING:
    import pyarrow as pa

By = Literal["random", "score", "disagreement"]
Question = Literal["fate", "rating", "chosen", "ranks"]
MOST_CANDIDATES = 9
_ONE_ANSWER = ("sft", "prompt")


class ReviewItem(NamedTuple):
    """A row to be looked at: what happened to it, and the place that an order gave it."""

    row: Row
    outcome: str
    place: float


class RowFilter(NamedTuple):
    """Which rows are looked at: those that all of what is given allows.

    Args:
        outcome: How the rows ended: `kept`, `used`, `dropped`, `failed` or `all`.
        step: Only rows that this step dropped.
        score: A step, and the lowest and the highest score of it that are looked at.
        topic: A number, or a part of the name, of a topic that the step `topics` gave.
    """

    outcome: str = "kept"
    step: str | None = None
    score: tuple[str, float, float] | None = None
    topic: str | None = None

    def dropped(self, run: Path) -> set[str]:
        """Return the ids of the rows that the step dropped.

        Raises:
            UsageError: it dropped none.
        """
        import pyarrow.compute as pc

        why = endings(run)
        own = why.filter(pc.equal(why.column("step"), self.step))
        if not len(own):
            raise UsageError(f"no row of {run} was dropped by a step labelled '{self.step}'")
        return {value.hex() for value in own.column("row").to_pylist()}

    def on_topic(self, chunk: Chunk) -> np.ndarray:
        """Tell which rows have a topic of that number, or with that in its name."""
        wanted, found = (self.topic or "").casefold(), []
        for text in chunk.column("notes").to_pylist():
            notes = json.loads(text).values() if text else ()
            of = [n for n in notes if isinstance(n, dict) and {"topic", "name"} <= n.keys()]
            found.append(
                any(str(n["topic"]) == wanted or wanted in str(n["name"]).casefold() for n in of)
            )
        return np.array(found, np.bool_)


def score_range(text: str) -> tuple[str, float, float]:
    """Return the step and the bounds of `LABEL:LOW..HIGH`, infinite where one is left out.

    Raises:
        UsageError: the text has another form.
    """
    label, _, bounds = text.rpartition(":")
    low, dots, high = bounds.partition("..")
    try:
        found = float(low or "-inf"), float(high or "inf")
    except ValueError:
        found = (1.0, 0.0)
    if not label or not dots or not found[0] <= found[1]:
        raise UsageError(
            f"--score is LABEL:LOW..HIGH, as in length:3..20 or judge:..4, not '{text}'"
        )
    return label, *found


class ReviewQuestion(NamedTuple):
    """What is asked: `rating` up to `scale`, whose steps may have `words`."""

    about: Question
    scale: int = 5
    words: tuple[str, ...] = ()


class Queue:
    """The rows of a review; each person meets them in an order of their own."""

    def __init__(
        self,
        items: Iterable[ReviewItem],
        question: ReviewQuestion | None,
        overlap: int | None,
        total: int,
        judge: str | None = None,
    ) -> None:
        """Hold `items`, chosen of `total` rows; each is for `overlap` people (all, if `None`).

        Ratings are compared with the scores of the step `judge`.
        """
        self.items = {item.row.id: item for item in items}
        self.question, self.overlap, self.total = question, overlap, total
        self.judge = judge

    def about(self, row: Row) -> ReviewQuestion:
        """Return what is asked about a row: by default a choice where it holds several answers."""
        if self.question is not None:
            return self.question
        return ReviewQuestion(
            "chosen" if row.kind in ("preference", "ranked", "unpaired") else "fate"
        )

    def holds(self, label: Label) -> bool:
        """Tell whether a label is about a row of this review, as it is now.

        A made row has its id by its place: where a step made it anew with another number of
        candidates, ranks of the former ones say nothing of it.
        """
        item = self.items.get(label.item)
        if item is None or label.decision != "ranks":
            return item is not None
        return item.row.kind == "ranked" and len(ranks_in(label.value)) == len(item.row.candidates)

    def next_for(
        self, who: str, labels: Sequence[Label], skipped: Iterable[str]
    ) -> ReviewItem | None:
        """Return the next row for a person, given all labels so far; `None`: there is none left.

        Rows that are wanted first come first; of equal ones the order is each person's own, so
        that two people do not tire at the same rows.
        """
        own = {label.item for label in labels if label.who == who} | set(skipped)
        others: dict[str, int] = {}
        for label in labels:
            if label.who != who:
                others[label.item] = others.get(label.item, 0) + 1
        most = self.overlap
        left = (
            item
            for name, item in self.items.items()
            if name not in own and (most is None or others.get(name, 0) < most)
        )
        return min(
            left,
            key=lambda item: (item.place, seed_of("review", who, item.row.id)),
            default=None,
        )

    def shown(self, who: str, row: Row) -> list[int]:
        """Return the order in which a person sees a row's answers: drawn, and always the same."""
        count = (
            2 if row.kind == "preference" else len(row.candidates) if row.kind == "ranked" else 1
        )
        return sorted(range(count), key=lambda k: seed_of("shown", who, row.id, k))

    def payload(self, who: str, item: ReviewItem) -> dict[str, Any]:
        """Return what the page shows of a row: turns, answers in their order, and the question."""
        row = item.row
        order, about = self.shown(who, row), self.about(row)
        shared: Sequence[Message] = row.messages if row.kind == "sft" else row.prompt
        answers: list[Sequence[Message]] = []
        if row.kind == "preference":
            answers = [row.chosen, row.rejected]
        elif row.kind == "ranked":
            answers = [one.messages for one in row.candidates]
        elif row.kind == "unpaired":
            answers = [row.completion]
        return {
            "id": row.id,
            "kind": row.kind,
            "source": row.source or "",
            "question": about.about,
            "scale": about.scale,
            "words": list(about.words),
            "turns": [_turn(turn) for turn in shared],
            "answers": [[_turn(turn) for turn in answers[k]] for k in order if k < len(answers)],
            "shown": ",".join(map(str, order)),
        }

    def checked(self, given: Mapping[str, Any], who: str) -> Label:
        """Return a label that a page sent, its value as the row's sides stand in the data.

        Raises:
            UsageError: it answers no question that was asked; the message says what is allowed.
        """
        item = self.items.get(str(given.get("item")))
        if item is None:
            raise UsageError(f"no row {given.get('item')!r:.50} is in this review")
        decision, value = given.get("decision"), given.get("value")
        if decision is None:
            return Label(item.row.id, who, None)
        if decision not in DECISIONS:
            raise UsageError(f"decision is one of {', '.join(DECISIONS)}, not {decision!r:.50}")
        text = None if decision in ("keep", "drop") else self._value(item.row, who, decision, value)
        comment, seconds = given.get("comment"), given.get("seconds")
        return Label(
            item.row.id,
            who,
            decision,
            text,
            comment.strip() or None if isinstance(comment, str) else None,
            ",".join(map(str, self.shown(who, item.row))),
            float(seconds) if isinstance(seconds, int | float) else None,
        )

    def _value(self, row: Row, who: str, decision: str, value: Any) -> str:
        about = self.about(row)
        if decision == "rating":
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 1 <= value <= about.scale:
                raise UsageError(
                    f"a rating is a whole number from 1 to {about.scale}, not {value!r}"
                )
            return str(value)
        if decision == "ranks":
            return self._ranks(row, who, value)
        if value == "tied" and row.kind in ("preference", "ranked"):
            return "tied"
        if row.kind == "unpaired" and isinstance(value, bool):
            return str(value).lower()
        order = self.shown(who, row)
        if row.kind not in ("preference", "ranked") or not (
            isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(order)
        ):
            raise UsageError(f"{value!r:.50} is not an answer to a choice about a {row.kind} row")
        side = order[value]
        return ("chosen", "rejected")[side] if row.kind == "preference" else str(side + 1)

    def _ranks(self, row: Row, who: str, value: Any) -> str:
        """Return the ranks of a row's candidates as the data lists them, given as they are seen."""
        count = len(row.candidates) if row.kind == "ranked" else 0
        given = value if isinstance(value, list) else []
        if len(given) != count or not all(type(one) is int and 1 <= one <= count for one in given):
            raise UsageError(
                f"ranks are a whole number from 1 to {count} for each of {count} candidates, not "
                f"{value!r:.50}"
                if count
                else f"a {row.kind} row has no candidates to rank"
            )
        by_place = dict(zip(self.shown(who, row), given, strict=True))
        return ",".join(map(str, standard_ranks([by_place[k] for k in range(count)])))

    def as_seen(self, who: str, row: Row, ranks: str) -> list[int]:
        """Return ranks of the data's candidates in the order in which a person sees them."""
        own = ranks_in(ranks)
        return [own[k] for k in self.shown(who, row)]


def _turn(turn: Message) -> dict[str, str]:
    """Return a turn as the page shows it; what it holds beside its text is shown as JSON."""
    return {"role": turn.role, "text": turn.content, "parts": turn.parts or ""}


def queue_of(
    run: Path,
    *,
    count: int,
    by: By = "random",
    label: str | None = None,
    only: RowFilter | None = None,
    question: ReviewQuestion | None = None,
    overlap: int | None = None,
) -> Queue:
    """Return the rows of a finished run that people are to look at.

    Args:
        run: The run folder.
        count: How many rows, at most.
        by: `random` draws them by their ids; `score` takes those with the lowest scores of the step
            `label`; `disagreement` those on whose rank the scores differ most.
        label: The step whose scores are meant.
        only: Which rows; by default those that were kept.
        question: What is asked; by default what the row's kind suggests.
        overlap: How many people see each row; all, if `None`.

    Raises:
        UsageError: no row is so, or nothing has the scores that are asked for.
    """
    only = only or RowFilter()
    if only.outcome not in (*ENDINGS, "all"):
        raise UsageError(f"outcome is one of {', '.join(ENDINGS)} or all, not '{only.outcome}'")
    wanted = ENDINGS if only.outcome == "all" else (only.outcome,)
    at_step: set[str] | None = None
    if only.step is not None:
        wanted, at_step = ("dropped",), only.dropped(run)
    ids: list[str] = []
    scores: list[dict[str, np.ndarray]] = []
    allowed: list[np.ndarray] = []
    columns = ["id", "notes"] if only.topic is not None else ["id"]
    for _, table in tables_of(run, wanted, columns):
        names = [value.hex() for value in table.column("id").to_pylist()]
        ids += names
        chunk = Chunk(table)
        labels = [n[len(SCORE) :] for n in table.column_names if n.startswith(SCORE)]
        scores.append({name: chunk.scores(name) for name in labels} | {"": np.zeros(len(table))})
        allowed.append(np.array([at_step is None or name in at_step for name in names], np.bool_))
        if only.topic is not None:
            allowed[-1] &= only.on_topic(chunk)
    if only.score is not None:
        step, low, high = only.score
        of = _score_of(scores, step)
        allowed = [np.concatenate(allowed) & (of >= low) & (of <= high)]
    among = np.flatnonzero(np.concatenate(allowed)).tolist() if allowed else []
    if not among:
        raise UsageError(f"{run} has no such row: `curate report {run}` shows how its rows ended")
    places = _places(scores, np.array(among), by, label)
    order = sorted(
        zip(places, among, strict=True), key=lambda p: (p[0], seed_of("review", ids[p[1]]))
    )
    chosen = {k: place for place, k in order[:count]}
    items, start = [], 0
    for section, table in tables_of(run, wanted, None):
        here = [k for k in range(start, start + len(table)) if k in chosen]
        found = rows_of(table.take([k - start for k in here]))
        items += [ReviewItem(row, section, chosen[k]) for k, row in zip(here, found, strict=True)]
        start += len(table)
    for item in items:
        if question is not None and question.about == "chosen" and item.row.kind in _ONE_ANSWER:
            raise UsageError(
                f"a {item.row.kind} row has one answer: there is nothing to choose (--ask rating)"
            )
        if question is not None and question.about == "ranks" and item.row.kind != "ranked":
            raise UsageError(
                f"a {item.row.kind} row has no list of candidates to rank: ask something else "
                "(--ask choice, rating or keep)"
            )
        asked = question.about if question is not None else None
        if asked == "ranks" and len(item.row.candidates) < 2:
            raise UsageError(
                f"row {item.row.id} has one candidate, which has no rank among others: drop such "
                "rows in the run, or ask something else (--ask rating or keep)"
            )
        if item.row.kind == "ranked" and len(item.row.candidates) > MOST_CANDIDATES:
            raise UsageError(
                f"a row has more than {MOST_CANDIDATES} candidates: no key is left for them"
            )
    judge = label if label is not None else only.score and only.score[0]
    return Queue(items, question, overlap, len(among), judge)


def tables_of(
    run: Path, sections: Sequence[str], columns: Sequence[str] | None
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of some endings file by file; lines that could not be read are left out."""
    import pyarrow.compute as pc

    for section in sections:
        # What kind a failed row is its columns tell.
        failed = section == "failed"
        for table in Rows(run / section).tables(None if failed else columns):
            yield section, table.filter(pc.not_equal(table.column("kind"), "")) if failed else table


def _scored(scores: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Return the labels of the steps that have scored some of the rows."""
    return list(dict.fromkeys(name for own in scores for name in own if name))


def _score_of(scores: Sequence[Mapping[str, np.ndarray]], label: str | None) -> np.ndarray:
    """Return the scores that a step gave, NaN where it gave none.

    Raises:
        UsageError: no row has such a score.
    """
    known = _scored(scores)
    if label not in known:
        raise UsageError(
            f"no step '{label}' has scored the rows; those that have: {', '.join(known)}"
        )
    parts = [own.get(label, np.full(len(own[""]), np.nan)) for own in scores]
    found: np.ndarray = np.concatenate(parts)
    return found


def _places(
    scores: Sequence[Mapping[str, np.ndarray]], among: np.ndarray, by: By, label: str | None
) -> list[float]:
    """Return numbers by which rows are put in order, the lowest first."""
    if by == "random":
        return [0.0] * len(among)

    if by == "score":
        # Rows without that score come last.
        found: list[float] = np.nan_to_num(_score_of(scores, label)[among], nan=np.inf).tolist()
        return found
    every = (_score_of(scores, name)[among] for name in _scored(scores))
    columns = [own for own in every if len(np.unique(own[~np.isnan(own)])) > 1]
    if len(columns) < 2:
        raise UsageError("rows are ordered by disagreement where two steps have scored them")
    ranks = [
        [r for r in own if r == r] for own in np.stack(list(map(midranks, columns))).T.tolist()
    ]
    return [-statistics.pstdev(own) if len(own) > 1 else 0.0 for own in ranks]


def run_says(item: ReviewItem, judge: str | None) -> dict[str, str | float]:
    """Return what a run says of a row, by what people are asked about it.

    Of its `fate`, of what is `chosen` (a pair's better side, the candidate with the highest score,
    the label of an answer), of its candidates' `ranks` (by their scores), and as a `rating` the
    score of the step `judge`.
    """
    row, found = item.row, dict[str, str | float]()
    if item.outcome in ("kept", "dropped"):
        found["fate"] = "keep" if item.outcome == "kept" else "drop"
    if row.kind == "preference":
        found["chosen"] = "chosen"
    elif row.kind == "unpaired":
        found["chosen"] = str(row.fields["label"]).lower()
    elif row.kind == "ranked":
        scores = [one.score for one in row.candidates]
        known = [score for score in scores if score is not None]
        if len(known) == len(scores):
            ranks = [1 + sum(other > own for other in known) for own in known]
            found["ranks"] = ",".join(map(str, ranks))
            if ranks.count(1) == 1:
                found["chosen"] = str(ranks.index(1) + 1)
    score = row.scores.get(judge) if judge is not None else None
    if score is not None:
        found["rating"] = score
    return found


def verdict_of(item: ReviewItem) -> str:
    """Return what the run thought of a row, in a line: how it ended, and its scores."""
    scores = {name: score for name, score in item.row.scores.items() if score is not None}
    notes = json.loads(item.row.notes) if item.row.notes else {}
    said = [f"{name} {score:.4g}" for name, score in scores.items()]
    said += [
        f"{name}: {json.dumps(note, ensure_ascii=False)[:200]}" for name, note in notes.items()
    ]
    return f"{item.outcome}; " + ", ".join(said) if said else item.outcome
