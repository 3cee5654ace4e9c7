"""Group rows by key and let a `Gather` make new ones of each group.

Groups are taken in the order of their earliest members, a batch at a time; rows are looked up in
the parts' mapped files, so that the groups in hand are all that is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.chunk import one_array, rows_of, table_of
from curate.engine.book import LedgerBuilder
from curate.engine.kinds.call import call_each
from curate.engine.kinds.generate import (
    Making,
    as_list,
    check_made,
    merge,
    refused_table,
    score_labels,
    write_made,
)
from curate.engine.ledger import DROPPED, FAILED, PASSED, USED, StepTally
from curate.engine.partition import describe_error
from curate.engine.segment import MadeDecision, PartitionState
from curate.engine.workspace import load, release
from curate.row import Row
from curate.step import Drop, Gather

if TYPE_CHECKING:
    from curate.requests.driver import Driver

IN_NO_MADE_ROW = "in no made row"
_BATCH_ROWS = 4096


class _PartMaking:
    """What the step made in one part, and how the part's rows end."""

    def __init__(self, label: str, count: int) -> None:
        self.outcome = np.zeros(count, np.int8)
        self.errors: dict[int, str] = {}
        self.builder, self.making, self.tally = (
            LedgerBuilder(label),
            Making(label),
            StepTally(entered=count),
        )

    def decision(self, label: str) -> MadeDecision:
        made, refused = self.making.rows, self.making.dropped
        self.tally.made = len(made) + len(refused)
        return MadeDecision(
            label=label,
            outcome=self.outcome,
            errors=self.errors,
            ledger=self.builder.table(),
            made=table_of(made, score_labels(made)) if made else None,
            gone=[refused_table(self.making, label)] if refused else [],
            tally=self.tally,
        )


class _Member:
    """One row of a group: where it stands, and the row itself."""

    __slots__ = ("local", "part", "row")

    def __init__(self, part: int, local: int, row: Row) -> None:
        self.part, self.local, self.row = part, local, row


def gather(
    step: Gather, states: Sequence[PartitionState], driver: Driver | None, run_seed: int
) -> None:
    """Set every part's lead to what `step` made."""
    tables = [load(state.rows) for state in states]
    parts = [_PartMaking(step.title, table.num_rows) for table in tables]
    keys = [
        one_array(load(state.sketches).column("key"))
        for state in states
        if state.sketches is not None
    ]
    for batch in _batches(_groups(pa.chunked_array(keys, pa.string())), tables, run_seed):
        items = [[member.row for member in group] for group in batch]
        salts = [f"{rows[0].id}:{len(rows)}:{step.title}:{run_seed}" for rows in items]
        results = call_each(step, step.make, items, salts.__getitem__, driver)
        for index, group in enumerate(batch):
            asked = results.asked.get(index)
            _settle(step, parts, group, results.values[index], results.errors.get(index), asked)
    for state, part in zip(states, parts, strict=True):
        state.decision = part.decision(step.title)
        release(state.sketches)
        state.sketches = None


def _groups(keys: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """Yield the positions of each group's rows, groups by their earliest member."""
    if not len(keys):
        return
    codes = np.asarray(one_array(keys).dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    # Dictionary codes count up in order of first appearance, so groups come out in that order.
    yield from np.split(order, bounds)


def _batches(
    groups: Iterator[np.ndarray], tables: Sequence[pa.Table], run_seed: int
) -> Iterator[list[list[_Member]]]:
    starts = np.cumsum([0, *(table.num_rows for table in tables)])
    batch: list[np.ndarray] = []
    size = 0
    for group in groups:
        batch.append(group)
        size += len(group)
        if size >= _BATCH_ROWS:
            yield _members(batch, tables, starts, run_seed)
            batch, size = [], 0
    if batch:
        yield _members(batch, tables, starts, run_seed)


def _members(
    groups: Sequence[np.ndarray], tables: Sequence[pa.Table], starts: np.ndarray, run_seed: int
) -> list[list[_Member]]:
    """Look the rows of several groups up, part by part."""
    positions = np.sort(np.concatenate(groups))
    parts = np.searchsorted(starts, positions, side="right") - 1
    found: dict[int, _Member] = {}
    for part in np.unique(parts).tolist():
        mine = positions[parts == part]
        local = mine - starts[part]
        rows = rows_of(tables[part].take(pa.array(local)), run_seed)
        for position, at, row in zip(mine.tolist(), local.tolist(), rows, strict=True):
            found[position] = _Member(part, at, row)
    return [[found[position] for position in group.tolist()] for group in groups]


def _settle(
    step: Gather,
    parts: Sequence[_PartMaking],
    group: Sequence[_Member],
    value: Any,
    error: str | None,
    asked: tuple[str, ...] | None,
) -> None:
    """Turn what `make` returned for one group into its members' outcomes and new rows."""
    detail = {"asked": list(asked)} if asked else None
    if error is None:
        try:
            items = as_list(value)
            check_made(items, step, [member.row for member in group])
        except (TypeError, ValueError) as wrong:
            error = describe_error(wrong)
    if error is not None:
        for member in group:
            part = parts[member.part]
            part.outcome[member.local], part.errors[member.local] = FAILED, error
            part.tally.failed += 1
            part.builder.add(member.row, FAILED, error, detail=detail)
        return
    rows = [member.row for member in group]
    first = parts[group[0].part]
    number, named = 0, set[str]()
    for item in items:
        if isinstance(item, Row) or (isinstance(item, Drop) and item.record is None):
            continue
        row = write_made(first.making, first.builder, item, rows, (number,))
        if isinstance(item, Drop):
            first.tally.dropped += 1
            first.tally.reasons[item.reason] += 1
        named.update(row.parents)
        number += 1
    _settle_members(step, parts, group, items, named, detail)


def _settle_members(
    step: Gather,
    parts: Sequence[_PartMaking],
    group: Sequence[_Member],
    items: Sequence[Any],
    named: set[str],
    detail: dict[str, Any] | None,
) -> None:
    refusal = next((i for i in items if isinstance(i, Drop) and i.record is None), None)
    passing = {item.id for item in items if isinstance(item, Row)}
    for member in group:
        part, row = parts[member.part], member.row
        if step.keep_parent or row.id in passing:
            outcome = PASSED
        else:
            outcome = USED if row.id in named else DROPPED
        part.outcome[member.local] = outcome
        if outcome == DROPPED:
            drop = refusal or Drop(IN_NO_MADE_ROW)
            part.tally.dropped += 1
            part.tally.reasons[drop.reason] += 1
            part.builder.add(
                row, DROPPED, drop.reason, drop.score, merge(drop.detail, detail), drop.partner
            )
        elif outcome == USED:
            part.tally.used += 1
            part.builder.add(row, USED, detail=detail)
        elif detail:
            part.builder.add(row, PASSED, detail=detail)
