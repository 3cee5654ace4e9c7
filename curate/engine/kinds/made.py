"""What steps make: returned records become rows, outcomes and ledger lines.

`Generate`, `Gather` and `Grow` share this: one object records how a part's rows end and what was
made of them, and gives both as one decision that a part carries out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from curate.chunk import table_of
from curate.engine.ledger import DROPPED, FAILED, MADE, PASSED, LedgerBuilder
from curate.engine.partition import check_detail, check_reason, with_ending
from curate.engine.state import MadeDecision
from curate.row import Record, Row, check_id, check_number, check_record, made_id
from curate.step import Drop, Made, Step


class Making:
    """Record how the rows of one part end at a step that makes rows, and what it made of them."""

    def __init__(self, label: str, count: int) -> None:
        self.label, self.builder = label, LedgerBuilder(label)
        self.outcome, self.errors = np.zeros(count, np.int8), dict[int, str]()
        self.rows: list[Row] = []
        self._ended: list[tuple[Row, int, str | None]] = []

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

    def make(self, item: Record | Drop, parents: Sequence[Row], index: Sequence[int]) -> Row:
        """Add what a step made of `parents` (the earliest first), and return its row."""
        record = item.record if isinstance(item, Drop) else item
        assert record is not None
        first = parents[0]
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
        self.add(row, item if isinstance(item, Drop) else None)
        return row

    def add(self, row: Row, drop: Drop | None = None) -> None:
        """Add a made row that joins the others, or is dropped at once."""
        self.builder.add(row, MADE, parents=row.parents)
        if drop is None:
            self.rows.append(row)
            return
        self.builder.add(row, DROPPED, drop.reason, drop.score, drop.detail, drop.partner)
        self._ended.append((row, DROPPED, None))

    def fail(self, row: Row, error: str) -> None:
        """Add a made row that failed."""
        self.builder.add(row, MADE, parents=row.parents)
        self.builder.add(row, FAILED, error)
        self._ended.append((row, FAILED, error))

    def decision(self) -> MadeDecision:
        """Return everything that was recorded."""
        gone = []
        if self._ended:
            rows, outcomes, errors = zip(*self._ended, strict=True)
            table = table_of(rows, _score_labels(rows))
            steps = [self.label] * len(rows)
            gone.append(with_ending(table, np.array(outcomes, np.int8), steps, errors))
        return MadeDecision(
            record=self.builder.record(len(self.outcome)),
            outcome=self.outcome,
            errors=self.errors,
            made=table_of(self.rows, _score_labels(self.rows)) if self.rows else None,
            gone=gone,
        )


def _score_labels(rows: Sequence[Row]) -> list[str]:
    """Return the labels under which these rows carry scores."""
    return list(dict.fromkeys(label for row in rows for label in row.scores))


def made_items(value: Any, step: Step, rows: Sequence[Row]) -> list[Made]:
    """Return what a `make` gave as a list; one record, drop or row may come alone.

    `rows` are those that the step was handed: it may return them, but not with other content.

    Raises:
        TypeError, ValueError: an item is none of what may be returned, or a record lacks a field.
    """
    if value is None:
        return []
    if isinstance(value, Record | Row | Drop):
        items = [value]
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        items = list(value)
    else:
        raise TypeError(f"make must return records, drops or its row, not {type(value).__name__}")
    for item in items:
        if isinstance(item, Drop):
            _check_drop(item)
        record = item.record if isinstance(item, Drop) else item
        if isinstance(record, Record):
            check_record(record)
        elif isinstance(item, Row):
            if not any(item is row or item == row for row in rows):
                raise TypeError(
                    f"'{step.title}' returned a row that is not the one it was given; return "
                    "row.rewrite(FIELD=...) to change a row"
                )
        elif not isinstance(item, Drop) or record is not None:
            name = type(record).__name__
            raise TypeError(f"'{step.title}' made a {name}; a record, a drop or its row is allowed")
    return items


def _check_drop(drop: Drop) -> None:
    check_reason(drop.reason)
    check_number("a drop's score", drop.score)
    check_detail(drop.detail)
    if drop.partner is not None:
        check_id("a drop's partner", drop.partner)


def children(items: Sequence[Made]) -> list[Record | Drop]:
    """Return the items that are new rows: neither a row that passes nor a refusal of the parent."""
    return [
        item
        for item in items
        if not isinstance(item, Row) and not (isinstance(item, Drop) and item.record is None)
    ]


def refusal(items: Sequence[Made]) -> Drop | None:
    """Return the drop of the parent among `items`, if there is one."""
    return next((i for i in items if isinstance(i, Drop) and i.record is None), None)
