"""Run one part through one segment: the unit of work of every engine.

`run_segment` takes what it needs as arguments and gives tables or paths back, so that it runs in
the main thread, in a pool of threads, or in a spawned process without change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from curate.chunk import Chunk
from curate.engine.book import LedgerBuilder
from curate.engine.kinds.call import call_each
from curate.engine.kinds.filter import apply_filter
from curate.engine.kinds.generate import apply_generate
from curate.engine.kinds.sketch import sketch
from curate.engine.ledger import FAILED, PASSED, StepTally, dumps
from curate.engine.partition import Partition, describe_error
from curate.engine.plan import Segment
from curate.engine.workspace import Held, Workspace, load
from curate.rows.order import sort_by_seq
from curate.step import Filter, Gather, Whole

if TYPE_CHECKING:
    from curate.requests.driver import Driver


class PendingDecision(Protocol):
    """What the step before a segment decided about the rows of one part."""

    def apply(self, part: Partition) -> None:
        """Carry the decision out."""
        ...


@dataclass
class WholeDecision:
    """The verdicts of a `Whole` on one part. Arrays are aligned with the part's rows."""

    label: str
    codes: np.ndarray
    reasons: tuple[str, ...]
    values: np.ndarray
    partners: pa.Array | None
    details: dict[int, str]
    notes: list[Mapping[str, Any] | None] | None

    def apply(self, part: Partition) -> None:
        """End the rows that were refused and write the ledger's lines."""
        if self.notes is not None:
            part.table = with_notes(part.table, self.notes, self.label)
        part.settle(
            self.label,
            np.arange(part.table.num_rows),
            values=self.values,
            codes=self.codes,
            reasons=self.reasons,
            errors={},
            details=self.details,
            partners=self.partners,
        )


def with_notes(table: pa.Table, notes: Sequence[Mapping[str, Any] | None], label: str) -> pa.Table:
    """Return `table` with the notes of the step `label` added to each row's, under its name."""
    before = Chunk(table).column("notes").to_pylist()
    texts = [
        old if note is None else dumps({**(json.loads(old) if old else {}), label: note})
        for old, note in zip(before, notes, strict=True)
    ]
    column = pa.array(texts, pa.string())
    if "notes" in table.column_names:
        return table.set_column(table.column_names.index("notes"), "notes", column)
    return table.append_column("notes", column)


@dataclass
class MadeDecision:
    """What a `Gather` or `Grow` made of one part: how its rows end, and the new rows that join."""

    label: str
    outcome: np.ndarray
    errors: dict[int, str] = field(default_factory=dict)
    ledger: pa.Table | None = None
    made: pa.Table | None = None
    gone: list[pa.Table] = field(default_factory=list)
    tally: StepTally = field(default_factory=StepTally)

    def apply(self, part: Partition) -> None:
        """End the rows that were used or refused and let the new ones join."""
        part.outcome = self.outcome.copy()
        part.ended_at[self.outcome != PASSED] = self.label
        part.errors.update(self.errors)
        if self.ledger is not None:
            part.write_down(self.label, self.ledger)
        part.gone.extend(self.gone)
        part.tally(self.label).add(self.tally)
        staying = part.split()
        if self.made is not None and self.made.num_rows:
            tables = [staying, self.made] if staying.num_rows else [self.made]
            staying = sort_by_seq(pa.concat_tables(tables, promote_options="default"))
        part.reset(staying)


class LedgerSlice(NamedTuple):
    """The ledger lines of one part in one segment; `steps` says whose: (label, start, count)."""

    held: Held
    steps: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, ledger: Mapping[str, Sequence[pa.Table]]) -> list[LedgerSlice]:
        """Return the lines of all steps as one page, or none; one file costs less than many."""
        tables = [table for lines in ledger.values() for table in lines]
        steps: list[tuple[str, int, int]] = []
        start = 0
        for label, lines in ledger.items():
            count = sum(table.num_rows for table in lines)
            steps.append((label, start, count))
            start += count
        return [cls(pa.concat_tables(tables), tuple(steps))] if tables else []


@dataclass
class PartitionState:
    """Where a part stands between segments. `sketches` is what the cut behind it reads."""

    number: int
    rows: Held
    decision: PendingDecision | None = None
    sketches: Held | None = None
    gone: list[Held] = field(default_factory=list)
    ledger: list[LedgerSlice] = field(default_factory=list)
    tallies: dict[str, StepTally] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What shapes the work without changing a byte of its results."""

    run_seed: int
    large: bool
    chunk_rows: int


def run_segment(
    segment: Segment,
    state: PartitionState,
    settings: Settings,
    *,
    driver: Driver | None = None,
    workspace: Workspace | None = None,
) -> PartitionState:
    """Return the part's state behind `segment`; with a workspace, its tables are written away."""
    part = Partition(
        load(state.rows),
        run_seed=settings.run_seed,
        large=settings.large,
        chunk_rows=settings.chunk_rows,
    )
    if state.decision is not None:
        state.decision.apply(part)
    for step in segment.steps:
        if isinstance(step, Filter):
            apply_filter(part, step, driver)
        else:
            apply_generate(part, step, driver)
    sketches = _sketches(part, segment, driver)
    alive = part.split()
    spill: Callable[[pa.Table], Held] = _as_is if workspace is None else workspace.spill
    return PartitionState(
        number=state.number,
        rows=spill(alive),
        sketches=None if sketches is None else spill(sketches),
        gone=[*state.gone, *(spill(table) for table in part.gone)],
        ledger=[*state.ledger, *LedgerSlice.of(part.ledger)],
        tallies=_summed(state.tallies, part.tallies),
    )


def _as_is(table: pa.Table) -> Held:
    return table


def _sketches(part: Partition, segment: Segment, driver: Driver | None) -> pa.Table | None:
    if isinstance(segment.cut, Whole):
        return sketch(part, segment.cut, driver)
    if isinstance(segment.cut, Gather):
        return _keys(part, segment.cut)
    return None


def _keys(part: Partition, step: Gather) -> pa.Table:
    """Return the group key of every row; a row whose key fails ends here."""
    part.compact()
    results = call_each(step, step.key, part.rows, lambda _: "", None)
    builder, keys = LedgerBuilder(step.title), []
    for index, key in enumerate(results.values):
        error = results.errors.get(index) or _wrong_key(key)
        if error is None:
            keys.append(key)
            continue
        part.mark(index, FAILED, step.title, error)
        builder.add(part.rows[index], FAILED, error)
        part.tally(step.title).entered += 1
        part.tally(step.title).failed += 1
    part.write_down(step.title, builder.table())
    part.compact()
    return pa.table({"key": pa.array(keys, pa.string())})


def _wrong_key(key: Any) -> str | None:
    """Say why `key` is none that rows could be grouped by."""
    if not isinstance(key, str):
        return describe_error(TypeError(f"a key must be text, not {type(key).__name__}"))
    try:
        key.encode()
    except UnicodeEncodeError as error:
        return describe_error(error)
    return None


def _summed(old: dict[str, StepTally], new: dict[str, StepTally]) -> dict[str, StepTally]:
    out: dict[str, StepTally] = {}
    for tallies in (old, new):
        for label, tally in tallies.items():
            out.setdefault(label, StepTally()).add(tally)
    return out


def total(states: Sequence[PartitionState]) -> dict[str, StepTally]:
    """Return the numbers of all parts together."""
    out: dict[str, StepTally] = {}
    for state in states:
        out = _summed(out, state.tallies)
    return out
