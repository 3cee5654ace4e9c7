"""Group rows by key and let a `Gather` make new ones of each group.

Groups are taken in the order of their earliest members, a batch at a time; rows are looked up in
the parts' mapped files, so that the groups in hand are all that is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.chunk import one_array, rows_of
from curate.engine.kinds.call import call_each, evidence
from curate.engine.kinds.made import Making, children, made_items, refusal
from curate.engine.ledger import DROPPED, FAILED, PASSED, USED
from curate.engine.partition import describe_error, picked
from curate.engine.state import PartitionState, load, release
from curate.row import Row
from curate.step import Drop, Gather

if TYPE_CHECKING:
    from curate.requests.driver import Driver

IN_NO_MADE_ROW = "in no made row"
_BATCH_ROWS = 4096


class _Member(NamedTuple):
    """One row of a group, and its place: its part, and its index there."""

    part: int
    local: int
    row: Row


def gather(
    step: Gather, states: Sequence[PartitionState], driver: Driver | None, run_seed: int
) -> None:
    """Set every part's decision to what `step` made."""
    tables = [load(state.rows) for state in states]
    parts = [Making(step.title, table.num_rows) for table in tables]
    seen = [np.flatnonzero(picked(table, step.only)) for table in tables]
    if step.only:
        tables = [t.take(pa.array(own)) for t, own in zip(tables, seen, strict=True)]
    keys = [
        one_array(load(state.sketches).column("key"))
        for state in states
        if state.sketches is not None
    ]
    for groups in _batches(pa.chunked_array(keys, pa.string())):
        batch = _members(groups, tables, seen, run_seed)
        items = [[member.row for member in group] for group in batch]
        salts = [f"{rows[0].id}:{len(rows)}:{step.title}:{run_seed}" for rows in items]
        results = call_each(step, step.make, items, salts.__getitem__, driver)
        for index, group in enumerate(batch):
            asked = results.asked.get(index, ())
            _settle(step, parts, group, results.values[index], results.errors.get(index), asked)
    for state, part in zip(states, parts, strict=True):
        state.decision = part.decision()
        release(state.sketches)
        state.sketches = None


def _batches(keys: pa.ChunkedArray) -> Iterator[list[np.ndarray]]:
    """Yield the positions of each group's rows, as many groups at a time as a batch holds."""
    codes = np.asarray(one_array(keys).dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    batch: list[np.ndarray] = []
    size = 0
    # Dictionary codes count up in order of first appearance, so groups come out in that order.
    for group in np.split(order, bounds) if len(order) else ():
        batch.append(group)
        size += len(group)
        if size >= _BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _members(
    groups: Sequence[np.ndarray],
    tables: Sequence[pa.Table],
    seen: Sequence[np.ndarray],
    run_seed: int,
) -> list[list[_Member]]:
    """Look the rows of several groups up, part by part; `seen` are the tables' places in parts."""
    starts = np.cumsum([0, *(table.num_rows for table in tables)])
    positions = np.sort(np.concatenate(groups))
    parts = np.searchsorted(starts, positions, side="right") - 1
    found: dict[int, _Member] = {}
    for part in np.unique(parts).tolist():
        mine = positions[parts == part]
        local = mine - starts[part]
        rows = rows_of(tables[part].take(pa.array(local)), run_seed)
        places = seen[part][local].tolist()
        for position, at, row in zip(mine.tolist(), places, rows, strict=True):
            found[position] = _Member(part, at, row)
    return [[found[position] for position in group.tolist()] for group in groups]


def _settle(
    step: Gather,
    parts: Sequence[Making],
    group: Sequence[_Member],
    value: Any,
    error: str | None,
    asked: tuple[str, ...],
) -> None:
    """Turn what `make` returned for one group into its members' outcomes and new rows."""
    rows = [member.row for member in group]
    items = []
    if error is None:
        try:
            items = made_items(value, step, rows)
        except (TypeError, ValueError) as wrong:
            error = describe_error(wrong)
    named = {
        parent
        for number, item in enumerate(children(items))
        for parent in parts[group[0].part].make(item, rows, (number,)).parents
    }
    passing = {item.id for item in items if isinstance(item, Row)}
    drop = refusal(items) or Drop(IN_NO_MADE_ROW)
    for part, local, row in group:
        making = parts[part]
        if error is not None:
            making.end(local, row, FAILED, error, detail=evidence(None, asked))
        elif step.keep_parent or row.id in passing:
            making.end(local, row, PASSED, detail=evidence(None, asked))
        elif row.id in named:
            making.end(local, row, USED, detail=evidence(None, asked))
        else:
            detail = evidence(drop.detail, asked)
            making.end(local, row, DROPPED, drop.reason, drop.score, detail, drop.partner)
