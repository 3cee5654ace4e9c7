"""Turn the parts of the inputs into identified rows, in source order.

Parsing and hashing run on threads; numbering equal rows and counting lines must go in order, so it
happens here, in the one thread that collects the parsed parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.chunk import ID, SEQ
from curate.engine.identity import Occurrences
from curate.engine.ledger import FAILED, lines
from curate.engine.local import ordered_map
from curate.engine.partition import with_ending
from curate.engine.segment import LedgerSlice, PartitionState
from curate.errors import InputError
from curate.read import Inputs, Part, PartRows, Unreadable, read_part
from curate.row import digest
from curate.rows.hashing import content_digests

READ = "read"
# Of 16,384 rows of instruction data, for parts of files that cannot be cut by bytes.
_USUAL_PART_BYTES = 8 << 20


class _Parsed(NamedTuple):
    part: Part
    rows: PartRows
    digests: list[bytes]
    raw_digests: list[bytes]


class Reading:
    """Read all parts and keep the counts that the report needs."""

    def __init__(self, inputs: Inputs, limit: int | None) -> None:
        self.inputs, self.limit = inputs, limit
        self.count = 0
        self.unreadable: list[dict[str, Any]] = []
        self.parts: list[Part] = []
        self._bases: list[int] = []
        self._occurrences = Occurrences()
        self._ordinal = self._line = 0
        self._file: tuple[int, int] | None = None
        self._readable: dict[str, int] = {}

    def states(self, pool: Executor, window: int) -> Iterator[PartitionState]:
        """Yield one state per part: its rows with ids, and its unreadable lines as failed rows."""
        for parsed in ordered_map(_parse, self._wanted(), pool, window):
            if self.limit is not None and self.count >= self.limit:
                break
            yield self._identified(parsed)
        self._check_files()

    @property
    def readable(self) -> int:
        """How many of the records read so far are rows."""
        return sum(self._readable.values())

    def expected_parts(self) -> int:
        """Return about how many parts there are, going by the size of those read so far."""
        sizes = [part.length for part in self.parts if part.length]
        size = sum(sizes) // len(sizes) if sizes else _USUAL_PART_BYTES
        return max(1, self.inputs.total_bytes // max(1, size))

    def expected_rows(self) -> int:
        """Return about how many rows there are, going by the parts read so far."""
        rows = round(self.count * max(1.0, self.expected_parts() / max(1, len(self.parts))))
        return rows if self.limit is None else min(rows, self.limit)

    def local_ordinals(self, part: int, ordinals: np.ndarray) -> np.ndarray:
        """Return a file's record numbers as numbers within one part."""
        return ordinals - self._bases[part]

    def _wanted(self) -> Iterator[Part]:
        for part in self.inputs.parts():
            if self.limit is not None and self.count >= self.limit:
                return
            yield part

    def _identified(self, parsed: _Parsed) -> PartitionState:
        part, rows = parsed.part, parsed.rows
        if self._file != (part.input_index, part.file_index):
            self._file = (part.input_index, part.file_index)
            self._ordinal = self._line = 0
        room = rows.records if self.limit is None else min(rows.records, self.limit - self.count)
        wanted = rows.ordinals < room
        unreadable = [u for u in rows.unreadable if u.ordinal < room]
        table, digests = rows.table, parsed.digests
        if not wanted.all():
            table = table.filter(pa.array(wanted))
            digests = [d for d, take in zip(digests, wanted.tolist(), strict=True) if take]
        ids = self._occurrences.ids(digests)
        table = _with_head(table, ids, self._seqs(part, rows.ordinals[wanted]))
        state = PartitionState(number=len(self.parts), rows=table)
        if unreadable:
            raw = [
                d
                for u, d in zip(rows.unreadable, parsed.raw_digests, strict=True)
                if u.ordinal < room
            ]
            self._fail(state, part, unreadable, self._occurrences.ids(raw))
        self.parts.append(part._replace(data=None))
        self._bases.append(self._ordinal)
        self.count += room
        self._readable[part.file] = self._readable.get(part.file, 0) + len(table)
        self._ordinal += rows.records
        self._line += rows.lines
        return state

    def _seqs(self, part: Part, ordinals: np.ndarray) -> pa.ListArray:
        values = np.empty((len(ordinals), 3), np.int64)
        values[:, 0], values[:, 1] = part.input_index, part.file_index
        values[:, 2] = ordinals + self._ordinal
        offsets = pa.array(np.arange(0, 3 * len(ordinals) + 1, 3, dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)), type=SEQ)

    def _fail(
        self, state: PartitionState, part: Part, unreadable: list[Unreadable], ids: np.ndarray
    ) -> None:
        """Make failed rows of lines that hold no row."""
        # Where a file has no lines (Parquet, rows in memory), the number of the row stands for it.
        numbers = [
            u.ordinal + self._ordinal + 1 if u.line is None else u.line + self._line
            for u in unreadable
        ]
        errors = [u.error for u in unreadable]
        seqs = self._seqs(part, np.array([u.ordinal for u in unreadable], np.int64))
        table = pa.table(
            {
                "source": pa.repeat(pa.scalar(part.source, pa.string()), len(unreadable)),
                "kind": pa.repeat(pa.scalar("", pa.string()), len(unreadable)),
                "file": pa.repeat(pa.scalar(part.file, pa.string()), len(unreadable)),
                "line": pa.array(numbers, pa.int64()),
                "raw": pa.array([u.raw for u in unreadable], pa.binary()),
            }
        )
        table = _with_head(table, ids, seqs)
        outcomes = np.full(len(unreadable), FAILED, np.int8)
        state.gone.append(with_ending(table, outcomes, [READ] * len(unreadable), errors))
        reasons = pa.array(errors, pa.string())
        ids_column = table.column("id").combine_chunks()
        told = lines(READ, ids_column, outcomes, reasons=reasons)
        state.ledger.append(LedgerSlice(told, ((READ, 0, len(told)),)))
        for number, error in zip(numbers, errors, strict=True):
            self.unreadable.append({"file": part.file, "line": number, "error": error})

    def _check_files(self) -> None:
        """Raise when a file gave no readable row: it is not what the user thinks it is."""
        for file, count in self._readable.items():
            if not count:
                first = next((u for u in self.unreadable if u["file"] == file), None)
                found = (
                    f"; its first error, line {first['line']}: {first['error']}" if first else ""
                )
                raise InputError(f"{file}: not one readable row{found}")


def _parse(part: Part) -> _Parsed:
    rows = read_part(part)
    raw = [digest(b"unreadable\0" + u.raw) for u in rows.unreadable]
    return _Parsed(part, rows, content_digests(rows.table), raw)


def _with_head(table: pa.Table, ids: np.ndarray, seqs: pa.ListArray) -> pa.Table:
    """Put `id` and `seq` in front."""
    column = pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(ids)])
    return table.add_column(0, "id", column).add_column(1, pa.field("seq", SEQ), seqs)
