"""What waits between segments: the parts of a run, the decisions about them, and where they lie.

Nothing of it survives a run or is trusted by the next one: replies are the only memory. A killed
run leaves its scratch folder behind, and the next run deletes it first.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from curate.chunk import Chunk, sort_by_seq
from curate.engine.ledger import StepRecord, StepTally, dumps
from curate.engine.partition import Partition

Held: TypeAlias = "pa.Table | Path"
# Up to this size, parts wait for a decision in memory: writing them away takes longer than they do.
IN_MEMORY_BYTES = 64 << 20


class Workspace:
    """A scratch folder for tables that wait for a later segment, as memory-mapped Arrow files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Start empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def spill(self, table: pa.Table) -> Path:
        """Write a table to a file and return its path."""
        # Several threads and processes write here: a name is taken by creating the file.
        handle, name = tempfile.mkstemp(".arrow", dir=self.folder)
        os.close(handle)
        with pa.OSFile(name, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return Path(name)


def load(held: Held) -> pa.Table:
    """Return a held table; a file is mapped, not read."""
    if isinstance(held, pa.Table):
        return held
    with pa.memory_map(str(held)) as source:
        return pa.ipc.open_file(source).read_all()


def release(held: Held | None) -> None:
    """Delete a held file that no later segment reads."""
    if isinstance(held, Path):
        held.unlink(missing_ok=True)


class PendingDecision(Protocol):
    """What the step before a segment decided about the rows of one part."""

    def apply(self, part: Partition) -> None:
        """Carry the decision out."""
        ...


@dataclass
class WholeDecision:
    """The verdicts of a `Whole` on one part. Arrays go by the rows that it sees: `reached`."""

    label: str
    reached: np.ndarray
    codes: np.ndarray
    reasons: tuple[str, ...]
    values: np.ndarray
    partners: pa.Array | None
    details: dict[int, str]
    notes: list[Mapping[str, Any] | None] | None
    repeats: np.ndarray | None = None

    def apply(self, part: Partition) -> None:
        """End the rows that were refused and write the ledger's lines."""
        if self.notes is not None:
            # Notes travel with the row, each under the label of its step.
            notes = Chunk(part.table).column("notes").to_pylist()
            for index, note in zip(self.reached.tolist(), self.notes, strict=True):
                if note is not None:
                    own = {**json.loads(notes[index] or "{}"), self.label: note}
                    notes[index] = dumps(own)
            table = part.table
            if "notes" in table.column_names:
                table = table.drop_columns(["notes"])
            part.table = table.append_column("notes", pa.array(notes, pa.string()))
        part.carry_out(
            self.label,
            self.reached,
            values=self.values,
            codes=self.codes,
            reasons=self.reasons,
            errors={},
            details=self.details,
            partners=self.partners,
        )
        if self.repeats is not None:
            more = np.where(self.codes < 0, self.repeats - 1, 0)
            part.repeat(self.label, np.repeat(self.reached, more))


@dataclass
class MadeDecision:
    """What a step made of one part: how its rows end, and the new rows that join.

    `outcome` is aligned with the part's rows, `errors` names those that failed, and `gone` holds
    rows that were made and ended at once.
    """

    record: StepRecord
    outcome: np.ndarray
    errors: dict[int, str] = field(default_factory=dict)
    made: pa.Table | None = None
    gone: list[pa.Table] = field(default_factory=list)

    def apply(self, part: Partition) -> None:
        """End the rows that were used or refused and let the new ones join."""
        part.end(self.record.label, np.arange(len(self.outcome)), self.outcome, self.errors)
        part.record(self.record)
        part.gone.extend(self.gone)
        if self.made is not None:
            staying = part.split()
            tables = [staying, self.made] if staying.num_rows else [self.made]
            part.reset(sort_by_seq(pa.concat_tables(tables, promote_options="default")))


class LedgerSlice(NamedTuple):
    """The ledger lines of one part in one segment; `steps` says whose: (label, start, count)."""

    held: Held
    steps: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, ledger: Mapping[str, Sequence[pa.Table]]) -> list[LedgerSlice]:
        """Return the lines of all steps as one slice, or none; one file costs less than many."""
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
    """A part between two segments. `sketches` is what the cut after it reads."""

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

    def partition(self, rows: Held) -> Partition:
        """Return a part's rows, ready to go through steps."""
        return Partition(
            load(rows), run_seed=self.run_seed, large=self.large, chunk_rows=self.chunk_rows
        )


def total(tallies: Iterable[Mapping[str, StepTally]]) -> dict[str, StepTally]:
    """Return the sum of several parts' (or segments') counts, by step."""
    out: dict[str, StepTally] = {}
    for one in tallies:
        for label, tally in one.items():
            out.setdefault(label, StepTally()).add(tally)
    return out
