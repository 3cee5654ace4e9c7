"""Make rows of rows: what a step returned becomes children, outcomes and ledger lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.chunk import table_of
from curate.engine.book import LedgerBuilder
from curate.engine.kinds.call import Results, call_each, row_salts
from curate.engine.ledger import DROPPED, FAILED, MADE, PASSED, USED, StepTally
from curate.engine.partition import (
    Partition,
    check_detail,
    check_reason,
    describe_error,
    with_ending,
)
from curate.row import Record, Row, check_id, check_number, check_record, made_id
from curate.rows.order import sort_by_seq
from curate.step import Drop, Generate, Made, Step

if TYPE_CHECKING:
    from curate.requests.driver import Driver

MADE_NOTHING = "made nothing"


@dataclass
class Making:
    """Collect what a step made of one part's rows: new rows, drops among them, ledger lines."""

    label: str
    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[Row, Drop]] = field(default_factory=list)

    def add(
        self, record: Record, parents: Sequence[Row], index: Sequence[int], drop: Drop | None = None
    ) -> Row:
        """Add a made row; `parents` are the rows handed to the step, the earliest first."""
        ids = tuple(record.parents) if record.parents is not None else tuple(p.id for p in parents)
        first = parents[0]
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
        if drop is None:
            self.rows.append(row)
        else:
            self.dropped.append((row, drop))
        return row


def apply_generate(part: Partition, step: Generate, driver: Driver | None) -> None:
    """Let the step make rows of those that are still in; the part goes on with what results."""
    began = time.perf_counter()
    label = step.title
    part.compact()
    many = _make_chunks(part, step) if part.large else None
    if many is None:
        results = call_each(step, step.make, part.rows, row_salts(part.rows, step), driver)
    else:
        results = Results(many)
    made = Making(label)
    tally = part.tally(label)
    tally.entered += part.table.num_rows
    builder = LedgerBuilder(label)
    rows = part.rows if many is None else [None] * len(results.values)
    for index, (row, value) in enumerate(zip(rows, results.values, strict=True)):
        error, asked = results.errors.get(index), results.asked.get(index)
        # Most rows simply pass: the step gave back the very row, or a whole chunk's without change.
        passes = value is row if many is None else not value
        if error is None and passes and not asked:
            continue
        _settle_parent(part, step, index, value, error, asked, made, builder)
    part.write_down(label, builder.table())
    _finish_making(part, made, tally, label)
    tally.worked(began)


def _make_chunks(part: Partition, step: Generate) -> list[Any] | None:
    found = part.by_chunk(step.make_many)
    return None if found is None else [made for chunk in found for made in chunk]


def _settle_parent(
    part: Partition,
    step: Generate,
    index: int,
    value: Any,
    error: str | None,
    asked: tuple[str, ...] | None,
    made: Making,
    builder: LedgerBuilder,
) -> None:
    """Turn what `make` returned for one row into its outcome and its children."""
    row, label, tally = part.rows[index], step.title, part.tally(step.title)
    detail = {"asked": list(asked)} if asked else None
    if error is None:
        try:
            items = as_list(value)
            check_made(items, step, [row])
        except (TypeError, ValueError) as wrong:
            error = describe_error(wrong)
    if error is not None:
        part.mark(index, FAILED, label, error)
        tally.failed += 1
        builder.add(row, FAILED, error, detail=detail)
        return
    outcome, drop = parent_outcome(row, items, keep=step.keep_parent)
    if outcome == DROPPED:
        assert drop is not None
        tally.dropped += 1
        tally.reasons[drop.reason] += 1
        builder.add(row, DROPPED, drop.reason, drop.score, merge(drop.detail, detail), drop.partner)
    elif outcome == USED:
        tally.used += 1
        builder.add(row, USED, detail=detail)
    elif detail:
        builder.add(row, PASSED, detail=detail)
    if outcome != PASSED:
        part.mark(index, outcome, label)
    number = 0
    for item in items:
        if isinstance(item, Row) or (isinstance(item, Drop) and item.record is None):
            continue
        write_made(made, builder, item, [row], (number,))
        number += 1


def write_made(
    made: Making,
    builder: LedgerBuilder,
    item: Record | Drop,
    parents: Sequence[Row],
    index: Sequence[int],
) -> Row:
    """Add one made record, or one made and refused at once, with its ledger lines."""
    if isinstance(item, Drop):
        assert item.record is not None
        row = made.add(item.record, parents, index, item)
        builder.add(row, MADE, parents=row.parents)
        builder.add(row, DROPPED, item.reason, item.score, item.detail, item.partner)
        return row
    row = made.add(item, parents, index)
    builder.add(row, MADE, parents=row.parents)
    return row


def merge(one: Mapping[str, Any] | None, two: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return two details as one."""
    return {**one, **two} if one and two else one or two


def as_list(value: Any) -> list[Made]:
    """Return what a `make` gave as a list; one record, drop or row may come alone."""
    if value is None:
        return []
    if isinstance(value, Record | Row | Drop):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return list(value)
    raise TypeError(f"make must return records, drops or its row, not {type(value).__name__}")


def check_made(items: Sequence[Any], step: Step, rows: Sequence[Row]) -> None:
    """Raise `TypeError` or `ValueError` when a made thing is none, or lacks a field.

    `rows` are those that the step was handed: it may return them, but not with other content.
    """
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


def _check_drop(drop: Drop) -> None:
    check_reason(drop.reason)
    check_number("a drop's score", drop.score)
    check_detail(drop.detail)
    if drop.partner is not None:
        check_id("a drop's partner", drop.partner)


def parent_outcome(row: Row, items: Sequence[Made], *, keep: bool) -> tuple[int, Drop | None]:
    """Return how a parent ends, given what was made of it."""
    refusal = next((i for i in items if isinstance(i, Drop) and i.record is None), None)
    if refusal is not None:
        return DROPPED, refusal
    if keep or any(isinstance(item, Row) and item.id == row.id for item in items):
        return PASSED, None
    return (USED, None) if items else (DROPPED, Drop(MADE_NOTHING))


def _finish_making(part: Partition, made: Making, tally: StepTally, label: str) -> None:
    """Go on with the parents that passed and the rows that were made, in order."""
    tally.made += len(made.rows) + len(made.dropped)
    tally.dropped += len(made.dropped)
    for _, drop in made.dropped:
        tally.reasons[drop.reason] += 1
    if made.dropped:
        part.gone.append(refused_table(made, label))
    if made.rows:
        staying = part.split()
        labels = score_labels(made.rows)
        staying = pa.concat_tables(
            [staying, table_of(made.rows, labels)], promote_options="default"
        )
        part.reset(sort_by_seq(staying))


def refused_table(made: Making, label: str) -> pa.Table:
    """Return the rows that were made and dropped at once."""
    rows = [row for row, _ in made.dropped]
    table = table_of(rows, score_labels(rows))
    return with_ending(table, np.full(len(rows), DROPPED, np.int8), [label] * len(rows))


def score_labels(rows: Sequence[Row]) -> list[str]:
    """Return the labels under which these rows carry scores."""
    return list(dict.fromkeys(label for row in rows for label in row.scores))
