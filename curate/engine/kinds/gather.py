"""Group rows by key and let a `Gather` make new ones of each group.

Groups are taken in the order of their earliest members, a batch at a time; rows are looked up in
the parts' mapped files, so that the groups in hand are all that is in memory. A part is decided as
soon as the last of its rows is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from curate.chunk import one_array, rows_of
from curate.engine.kinds.call import call_each, evidence
from curate.engine.kinds.made import (
    Making,
    children,
    made_items,
    refusal,
    unusable_replies,
)
from curate.engine.ledger import DROPPED, FAILED, PASSED, USED, FigureTotals, StepTally
from curate.engine.partition import describe_error, picked
from curate.engine.state import PartitionState, load, release
from curate.row import Row
from curate.step import Drop, Figures, Gather, Product

if TYPE_CHECKING:
    from curate.requests.driver import Driver

IN_NO_MADE_ROW = "in no made row"
_BATCH_ROWS = 4096


class _Member(NamedTuple):
    """One row of a group, and its place: its part, and its index there."""

    part: int
    local: int
    row: Row


class _Waiting:
    """A part of which some rows still wait for their group."""

    def __init__(self, step: Gather, state: PartitionState, start: int) -> None:
        table = load(state.rows)
        self.state, self.start = state, start
        self.places = np.flatnonzero(picked(table, step.only))
        self.table = table.take(pa.array(self.places)) if step.only else table
        self.making = Making(step.title, table.num_rows)
        self.left = len(self.places)


class _Gathering:
    """The parts of a run on their way through one `Gather`; positions count the rows it sees."""

    def __init__(self, step: Gather, driver: Driver | None, run_seed: int) -> None:
        self.step, self.driver, self.run_seed = step, driver, run_seed
        self.parts: dict[int, _Waiting] = {}
        self.starts: list[int] = []
        self.count = 0
        self.figures = FigureTotals()

    def open(self, state: PartitionState) -> pa.Array:
        """Take one more part, and return the keys of the rows that the step sees."""
        assert state.sketches is not None
        keys = one_array(load(state.sketches).column("key"))
        self.parts[len(self.starts)] = _Waiting(self.step, state, self.count)
        self.starts.append(self.count)
        self.count += len(keys)
        return keys

    def decided(self, *, all_but: int) -> Iterator[PartitionState]:
        """Yield the parts of which every row is decided, in order, and leave `all_but` of them."""
        while len(self.parts) > all_but:
            number, part = next(iter(self.parts.items()))
            if part.left:
                return
            del self.parts[number]
            part.state.decision = part.making.decision()
            release(part.state.sketches)
            part.state.sketches = None
            yield part.state

    def settle(self, groups: Sequence[np.ndarray]) -> None:
        """Call the step on groups, given as positions, and record what comes of them."""
        if not groups:
            return
        # The rows of several groups are looked up part by part.
        positions = np.sort(np.concatenate(groups))
        parts = np.searchsorted(self.starts, positions, side="right") - 1
        found: dict[int, _Member] = {}
        for number in np.unique(parts).tolist():
            part, mine = self.parts[number], positions[parts == number]
            part.left -= len(mine)
            local = mine - part.start
            rows = rows_of(part.table.take(pa.array(local)), self.run_seed)
            places = part.places[local].tolist()
            for position, place, row in zip(mine.tolist(), places, rows, strict=True):
                found[position] = _Member(number, place, row)
        step, batch = self.step, [[found[position] for position in g.tolist()] for g in groups]
        errors = {index: error for index, g in enumerate(batch) if (error := self._incomplete(g))}
        whole = [index for index in range(len(batch)) if index not in errors]
        items = [[member.row for member in batch[index]] for index in whole]
        salts = [f"{rows[0].id}:{len(rows)}:{step.title}:{self.run_seed}" for rows in items]
        results = call_each(
            step, step.make, items, salts.__getitem__, self.driver, unusable_replies
        )
        for number, index in enumerate(whole):
            error, made = results.errors.get(number), list[Product]()
            if error is None:
                try:
                    made = made_items(results.values[number], step, items[number])
                except (TypeError, ValueError) as wrong:
                    error = describe_error(wrong)
            self._end(batch[index], made, error, results.asked.get(number, ()))
        for index, error in errors.items():
            self._end(batch[index], [], error, ())

    def _incomplete(self, group: Sequence[_Member]) -> str | None:
        """Return why a group fails before it is looked at: it has not the rows it must have."""
        try:
            told = {self.step.expects(member.row) for member in group}
        except Exception as error:
            return describe_error(error)
        wanted = {number for number in told if number is not None}
        for number in wanted:
            if type(number) is not int or number < 1:
                return f"TypeError: expects must return a number from 1 on, or None, not {number!r}"
        if wanted <= {len(group)}:
            return None
        numbers = " or ".join(map(str, sorted(wanted)))
        return (
            f"the group has {len(group)} of {numbers} rows: the others failed, were dropped, or "
            "are missing"
        )

    def _end(
        self,
        group: Sequence[_Member],
        items: Sequence[Product],
        error: str | None,
        asked: Sequence[str],
    ) -> None:
        """Turn what was made of one group into its members' outcomes and new rows."""
        step, rows = self.step, [member.row for member in group]
        for item in items:
            if isinstance(item, Figures):
                self.figures.note(item.values)
        first = self.parts[group[0].part].making
        named = {
            parent
            for number, item in enumerate(children(items))
            for parent in first.make(item, rows, (number,)).parents
        }
        passing = {item.id for item in items if isinstance(item, Row)}
        for number, local, row in group:
            making = self.parts[number].making
            drop = refusal(items, row.id)
            if error is not None:
                making.end(local, row, FAILED, error, detail=evidence(None, asked))
            elif step.keep_parent or row.id in passing:
                making.end(local, row, PASSED, detail=evidence(None, asked))
            elif row.id in named and (drop is None or drop.row is None):
                making.end(local, row, USED, detail=evidence(None, asked))
            else:
                drop = drop or Drop(IN_NO_MADE_ROW)
                detail = evidence(drop.detail, asked)
                making.end(local, row, DROPPED, drop.reason, drop.score, detail, drop.partner)

    def report(self, state: PartitionState, began: float) -> None:
        """Note on one part what belongs to the step as a whole."""
        tally = state.tallies.setdefault(self.step.title, StepTally())
        tally.worked(began)
        tally.row_figures.add(self.figures)


def gather(
    step: Gather, states: Sequence[PartitionState], driver: Driver | None, run_seed: int
) -> None:
    """Set every part's decision to what `step` made of whole groups."""
    began, work = time.perf_counter(), _Gathering(step, driver, run_seed)
    keys = pa.chunked_array([work.open(state) for state in states], pa.string())
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
            work.settle(batch)
            deque(work.decided(all_but=0), maxlen=0)
            batch, size = [], 0
    work.settle(batch)
    deque(work.decided(all_but=0), maxlen=0)
    if states:
        work.report(states[0], began)


def gather_as_they_come(
    step: Gather, states: Iterable[PartitionState], driver: Driver | None, run_seed: int
) -> Iterator[PartitionState]:
    """Yield parts in order, each once its rows are in groups of the step's `group_size`.

    A row waits until as many rows of its key have come, or all rows have.
    """
    work, pending = _Gathering(step, driver, run_seed), dict[str, list[int]]()
    began = time.perf_counter()
    for state in states:
        began = time.perf_counter()
        start, full = work.count, []
        for position, key in enumerate(work.open(state).to_pylist(), start):
            group = pending.setdefault(key, [])
            group.append(position)
            if len(group) == step.group_size:
                full.append(np.array(pending.pop(key)))
        work.settle(full)
        state.tallies.setdefault(step.title, StepTally()).worked(began)
        # The last part stays until the end: it carries what belongs to the step as a whole.
        yield from work.decided(all_but=1)
    work.settle([np.array(group) for group in pending.values()])
    for part in list(work.parts.values())[-1:]:
        work.report(part.state, began)
    yield from work.decided(all_but=0)
