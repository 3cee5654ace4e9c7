"""What steps make: what they return becomes rows, outcomes and ledger lines.

`Generate`, `Gather` and `Grow` share this: one object records how a part's rows end and what was
made of them, and gives both as one decision that a part carries out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.ask import Reply
from curate.chunk import table_of
from curate.engine.ledger import DROPPED, FAILED, MADE, PASSED, LedgerBuilder
from curate.engine.partition import (
    check_detail,
    check_figures,
    check_reason,
    describe_error,
    with_ending,
)
from curate.engine.state import MadeDecision
from curate.row import Record, Row, check_id, check_number, check_record, made_id
from curate.step import Drop, Failed, Figures, Made, Product, Step

# What becomes a row: all that may be made, but the step's own row, refusals of it, and figures.
Child = Record | Made | Drop | Failed


class _Ended(NamedTuple):
    """A made row that did not join the others."""

    row: Row
    outcome: int
    error: str | None = None
    raw: bytes | None = None


class Making:
    """Record how the rows of one part end at a step that makes rows, and what it made of them."""

    def __init__(self, label: str, count: int) -> None:
        self.label, self.builder = label, LedgerBuilder(label)
        self.outcome, self.errors = np.zeros(count, np.int8), dict[int, str]()
        self.rows: list[Row] = []
        self.rewritten = 0
        self._ended: list[_Ended] = []

    def end(
        self,
        index: int,
        row: Row,
        outcome: int,
        reason: str | None = None,
        score: float | None = None,
        detail: Mapping[str, Any] | None = None,
        partner: str | None = None,
    ) -> None:
        """Say how the part's row at `index` ends; one that passes has a line if it has a detail."""
        self.outcome[index] = outcome
        if outcome == FAILED:
            self.errors[index] = reason or ""
        if outcome != PASSED or detail:
            self.builder.add(row, outcome, reason, score, detail, partner)

    def make(self, item: Child, parents: Sequence[Row], index: Sequence[int]) -> Row:
        """Add what a step made of `parents` (the earliest first), and return its row."""
        record, first = record_of(item), parents[0]
        ids = tuple(p.id for p in parents) if record.parents is None else tuple(record.parents)
        row = Row(
            id=made_id(ids, self.label, index),
            seq=(*first.seq, *index),
            kind=record.kind,
            fields=record.fields,
            source=first.source,
            extra=record.extra,
            parents=ids,
            # A row made from one parent inherits its scores: a masked text is as long-winded.
            scores=dict(first.scores) if len(parents) == 1 else {},
            run_seed=first.run_seed,
        )
        self.add(row, item)
        return row

    def add(self, row: Row, item: Child, asked: Sequence[str] = ()) -> None:
        """Add a made row, which joins the others unless `item` says that it ended at once.

        `asked` are the keys of requests that only this row rests on.
        """
        own = {"asked": list(asked)} if asked else None
        if not isinstance(item, Drop | Failed):
            score, detail = (item.score, item.detail) if isinstance(item, Made) else (None, None)
            self.builder.add(
                row,
                MADE,
                None,
                score,
                {**(detail or {}), **(own or {})} or None,
                parents=row.parents,
            )
            if score is not None:
                row = row._replace(scores={**row.scores, self.label: float(score)})
            self.rows.append(row)
            return
        self.builder.add(row, MADE, detail=own, parents=row.parents)
        if isinstance(item, Drop):
            self.builder.add(row, DROPPED, item.reason, item.score, item.detail, item.partner)
            self._ended.append(_Ended(row, DROPPED))
            return
        error, reply = failure_text(item.error), item.reply
        key = [reply.key] if reply is not None and reply.key and reply.key not in asked else ()
        self.builder.add(row, FAILED, error, detail={"asked": list(key)} if key else None)
        raw = None if reply is None else reply.text.encode("utf-8", "backslashreplace")
        self._ended.append(_Ended(row, FAILED, error, raw))

    def decision(self) -> MadeDecision:
        """Return everything that was recorded."""
        gone = []
        record = self.builder.record(len(self.outcome))
        record.tally.rewritten = self.rewritten
        if self._ended:
            rows, outcomes, errors, raws = zip(*self._ended, strict=True)
            table = table_of(rows, _score_labels(rows))
            if any(raw is not None for raw in raws):
                table = table.append_column("raw", pa.array(raws, pa.binary()))
            steps = [self.label] * len(rows)
            gone.append(with_ending(table, np.array(outcomes, np.int8), steps, errors))
        return MadeDecision(
            record=record,
            outcome=self.outcome,
            errors=self.errors,
            made=table_of(self.rows, _score_labels(self.rows)) if self.rows else None,
            gone=gone,
        )


def _score_labels(rows: Sequence[Row]) -> list[str]:
    """Return the labels under which these rows carry scores."""
    return list(dict.fromkeys(label for row in rows for label in row.scores))


def record_of(item: Child) -> Record:
    """Return the record of what was made; a failure that knows of none has one without fields."""
    record = item if isinstance(item, Record) else item.record
    return Record("", {}) if record is None else record


def failure_text(error: Exception | str) -> str:
    """Return a failed row's error, given as an exception or a text."""
    return error if isinstance(error, str) else describe_error(error)


def made_items(value: Any, step: Step, rows: Sequence[Row]) -> list[Product]:
    """Return what a `make` gave as a list; one item may come alone.

    `rows` are those that the step was handed: it may return them, but not with other content.

    Raises:
        TypeError, ValueError: an item is none of what may be returned, or a record lacks a field.
    """
    if value is None:
        return []
    if isinstance(value, Product):
        items = [value]
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        items = list(value)
    else:
        raise TypeError(f"make must return records, drops or its row, not {type(value).__name__}")
    for item in items:
        if isinstance(item, Row):
            if not any(item is row or item == row for row in rows):
                raise TypeError(
                    f"'{step.title}' returned a row that is not the one it was given; return "
                    "row.rewrite(FIELD=...) to change a row"
                )
        elif isinstance(item, Product):
            _check_item(item, step, rows)
        else:
            name = type(item).__name__
            raise TypeError(f"'{step.title}' made a {name}; a record, a drop or its row is allowed")
    named = [one for item in children(items) for one in record_of(item).parents or ()]
    if named and rows:
        # Rows that the step was not handed may be those of another run, or of none.
        known = {one for row in rows for one in (row.id, *row.parents)}
        strange = next((one for one in named if one not in known), None)
        if strange is not None:
            raise ValueError(
                f"'{step.title}' names the parent {strange}, a row that it was not given"
            )
    return items


def _check_item(item: Child | Figures, step: Step, rows: Sequence[Row]) -> None:
    """Raise `TypeError` or `ValueError` when evidence or a record cannot be written."""
    if isinstance(item, Figures):
        check_figures(item.values)
        check_detail(item.detail)
        return
    if isinstance(item, Drop):
        check_reason(item.reason)
        if item.partner is not None:
            check_id("a drop's partner", item.partner)
        if item.row is not None and all(item.row != row.id for row in rows):
            raise ValueError(f"'{step.title}' dropped the row {item.row!r}, which it was not given")
    if isinstance(item, Made | Drop):
        check_number("a score", item.score)
        check_detail(item.detail)
    if isinstance(item, Failed):
        check_reason(failure_text(item.error))
    record = item if isinstance(item, Record) else item.record
    if isinstance(record, Record):
        check_record(record)
    elif record is not None or isinstance(item, Made):
        name = type(record).__name__
        raise TypeError(f"'{step.title}' made a {name}; a record, a drop or its row is allowed")


def children(items: Sequence[Product]) -> list[Child]:
    """Return the items that are new rows: no row that passes, no refusal of one, no figures."""
    return [
        item
        for item in items
        if not isinstance(item, Row | Figures)
        and not (isinstance(item, Drop) and item.record is None)
    ]


def refusal(items: Sequence[Product], row: str | None = None) -> Drop | None:
    """Return why the step's own row is dropped: the drop that names its id, else the one of all."""
    drops = [item for item in items if isinstance(item, Drop) and item.record is None]
    named = [drop for drop in drops if drop.row is not None and drop.row == row]
    return next(iter(named or [drop for drop in drops if drop.row is None]), None)


def unusable_replies(value: Any) -> list[str]:
    """Return the keys of the replies that made rows failed on, for `--retry-failed`."""
    items = value if isinstance(value, list | tuple) and not isinstance(value, Product) else [value]
    return [
        item.reply.key
        for item in items
        if isinstance(item, Failed) and isinstance(item.reply, Reply) and item.reply.key
    ]
