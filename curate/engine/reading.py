"""Open what a run reads, turn its parts into identified rows, in source order, and sample those.

Parsing and hashing run on threads; numbering equal rows and counting lines must go in order, so it
happens in the one thread that collects the parsed parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import ID, SEQ, one_array, rows_of
from curate.engine.ledger import FAILED, record_outcomes
from curate.engine.local import ordered_map
from curate.engine.partition import picked, with_ending
from curate.engine.state import LedgerSlice, PartitionState, load
from curate.errors import InputError, UsageError
from curate.kernels.arrays.growable import GrowableArray, KeyTable
from curate.read import Inputs, Part, PartRows, Unreadable, open_inputs, read_part
from curate.read.sniff import remedy
from curate.row import digest, occurrence_id
from curate.rows.hashing import content_digests
from curate.step import Gather, Generate, Grow

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe

READ = "read"
# Of 16,384 rows of instruction data, for parts of files that cannot be cut by bytes.
_USUAL_PART_BYTES = 8 << 20
SAMPLE_ROWS = 256
# Of groups that are sampled as a whole, the most rows.
MOST_ROWS = 4096


def open_sources(recipe: Recipe, inputs: Any, wanted: str | None) -> Inputs:
    """Open `inputs`, or those of the recipe; `wanted` is the shape of those that name none.

    Raises:
        InputError: a file is missing, empty, not what its name says, or of no known shape.
        RecipeError: likewise, with the line of the recipe that names it.
        UsageError: the inputs are none of what can be read.
    """
    if inputs is not None:
        return open_inputs(inputs, shape=wanted)
    named = recipe.inputs if isinstance(recipe.inputs, Mapping) else {}
    for name, given in named.items():
        for key in ("shape", "columns") if isinstance(given, Mapping) else ():
            from curate.read.shapes import shape
            from curate.read.shapes.mapped import columns_shape

            try:
                if given.get(key) is not None:
                    (shape if key == "shape" else columns_shape)(given[key])
            except UsageError as error:
                raise recipe.error(("inputs", name, key), str(error)) from None
    try:
        return open_inputs(recipe.inputs, shape=wanted)
    except InputError as error:
        from curate.recipe.fields import freeze

        data = None if recipe.places is None else recipe.places.data
        # Inputs that were given in place of the file's own have no line there.
        if not isinstance(data, Mapping) or freeze(data.get("inputs")) != recipe.inputs:
            raise
        # The error with its line, and what its path may have meant.
        message, given = str(error), recipe.inputs
        if isinstance(given, str):
            advice = _relative_hint(recipe, given, message)
            raise recipe.error(("inputs",), message + advice) from None
        for name, source in (given or {}).items():
            where = source.get("path", "") if isinstance(source, Mapping) else source
            if where and message.startswith(where):
                advice = _relative_hint(recipe, where, message)
                said = f"inputs.{name}: {message}{advice}"
                raise recipe.error(("inputs", name), said) from None
        raise recipe.error(("inputs",), message) from None


def _relative_hint(recipe: Recipe, where: str, message: str) -> str:
    """Say where relative paths start, if that is why nothing was found."""
    file = recipe.places.file if recipe.places else None
    missing = ": no such file" in message or ": no file matches" in message
    if not missing or file is None or Path(where).is_absolute():
        return ""
    beside = Path(os.path.normpath(Path(file).parent / where))
    there = f"; beside the recipe there is one: write {beside}" if beside.exists() else ""
    return f" (relative paths start at the working folder{there})"


class Occurrences:
    """Count how often each content digest has been seen, in source order.

    An id is the content's hash for its first occurrence, and a hash of hash and number afterwards.
    The numbers are counted by 64-bit prefixes: two different contents with the same prefix only
    share a counter, so a collision costs nothing but a gap in the numbers.
    """

    def __init__(self) -> None:
        self._table, self._counts = KeyTable(), GrowableArray(np.uint32)

    def ids(self, digests: Sequence[bytes]) -> np.ndarray:
        """Return the ids of the next rows as an array of 16-byte values."""
        packed = np.frombuffer(b"".join(digests), np.dtype("V16")).copy()
        if not len(packed):
            return packed
        numbers = self.number(packed.view(np.uint64)[::2])
        again = np.flatnonzero(numbers)
        own = map(occurrence_id, map(digests.__getitem__, again.tolist()), numbers[again].tolist())
        packed[again] = np.frombuffer(b"".join(own), packed.dtype)
        return packed

    def number(self, keys: np.ndarray) -> np.ndarray:
        """Return, for each key (uint64) in order, how many equal keys came before it."""
        numbers = self._table.add(keys)
        self._counts.extend(np.zeros(self._table.count - len(self._counts), np.uint32))
        counts = self._counts.values
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        sizes = np.diff(np.append(starts, len(keys)))
        out = np.empty(len(keys), np.int64)
        out[order] = counts[ordered] + np.arange(len(keys)) - np.repeat(starts, sizes)
        counts[ordered[starts]] += sizes.astype(np.uint32)
        return out


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
        # What was taken for granted of a file, in a sentence.
        self.assumed: dict[str, str] = {}
        self.parts: list[Part] = []
        self._bases: list[int] = []
        self._occurrences = Occurrences()
        self._ordinal = self._line = 0
        self._file: tuple[int, int] | None = None
        # Of each file, by the number of its input and its name: the rows, and the first error.
        self._readable: dict[tuple[int, str], int] = {}
        self._first_errors: dict[tuple[int, str], str] = {}

    def states(self, pool: Executor, window: int) -> Iterator[PartitionState]:
        """Yield one state per part: its rows with ids, and its unreadable lines as failed rows."""
        # The first rows only: no part is begun, or taken, after those that hold them.
        limit = math.inf if self.limit is None else self.limit
        wanted = itertools.takewhile(lambda _: self.count < limit, self.inputs.parts())
        for parsed in ordered_map(_parse, wanted, pool, window):
            if self.count >= limit:
                break
            yield self._identified(parsed)
        full = {index for (index, _), count in self._readable.items() if count}
        for (index, file), count in self._readable.items():
            first = self._first_errors.get((index, file))
            # Blank lines among files with rows are those of an empty file. Anything else is not
            # what the user thinks it is.
            if not count and (first is not None or index not in full):
                found = f"; its first error, {first}{remedy(first)}" if first else ""
                raise InputError(f"{file}: not one readable row{found}")

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

    def _identified(self, parsed: _Parsed) -> PartitionState:
        part, rows = parsed.part, parsed.rows
        if self._file != (part.input_index, part.file_index):
            self._file = (part.input_index, part.file_index)
            self._ordinal = self._line = 0
        room = rows.records if self.limit is None else min(rows.records, self.limit - self.count)
        wanted = rows.ordinals < room
        unreadable = [u for u in rows.unreadable if u.ordinal < room]
        table, digests = rows.table, parsed.digests
        if part.file not in self.assumed and "label" in table.column_names:
            # Numbers might as well be classes of something.
            numbers = pc.match_substring(table.column("extra"), '"label_as":"number"')
            if pc.any(numbers).as_py():
                self.assumed[part.file] = "labels 1 and 0 say that an answer is wanted or not"
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
        place = (part.input_index, part.file)
        self._readable[place] = self._readable.get(place, 0) + len(table)
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
        files = [u.file or part.file for u in unreadable]
        seqs = self._seqs(part, np.array([u.ordinal for u in unreadable], np.int64))
        table = pa.table(
            {
                "source": pa.repeat(pa.scalar(part.source, pa.string()), len(unreadable)),
                "kind": pa.repeat(pa.scalar("", pa.string()), len(unreadable)),
                "file": pa.array(files, pa.string()),
                "line": pa.array(numbers, pa.int64()),
                "raw": pa.array([u.raw for u in unreadable], pa.binary()),
            }
        )
        table = _with_head(table, ids, seqs)
        outcomes = np.full(len(unreadable), FAILED, np.int8)
        state.gone.append(with_ending(table, outcomes, [READ] * len(unreadable), errors))
        record = record_outcomes(
            READ,
            table.column("id").combine_chunks(),
            outcomes,
            entered=len(unreadable),
            reasons=pa.array(errors, pa.string()),
        )
        state.ledger.append(LedgerSlice(record.lines, ((READ, 0, len(record.lines)),)))
        for file, number, error in zip(files, numbers, errors, strict=True):
            self.unreadable.append({"file": file, "line": number, "error": error})
            where = f"line {number}" if file == part.file else file
            self._first_errors.setdefault((part.input_index, part.file), f"{where}: {error}")


class RowSample:
    """Some rows of all parts that were shown to it, in source order: those with the lowest marks.

    A mark is a hash, so the rows are as good as drawn by lot, from all files, and the same every
    time: a row's id, or where the recipe's rows come in groups the hash of its group's key. Then
    groups are sampled as a whole. Groups of so many rows as come next are those of a run only if
    the sample is where the run begins: then it is the first rows.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.rows: pa.Table | None = None
        self._grouping, self._run_seed = rows_in_groups(recipe), recipe.seed
        self._marks = np.zeros(0, np.uint64)

    def add(self, state: PartitionState) -> None:
        """Look at the rows of one more part."""
        new = load(state.rows)
        table = new
        if self.rows is not None:
            table = pa.concat_tables([self.rows, new], promote_options="default")
        if self._grouping is not None and self._grouping.group_size is not None:
            self.rows = table[: min(self._grouping.group_size * SAMPLE_ROWS, MOST_ROWS)]
            return
        marks = np.concatenate([self._marks, self._marked(new)])
        if len(marks) > SAMPLE_ROWS:
            bound = np.partition(marks, SAMPLE_ROWS - 1)[SAMPLE_ROWS - 1]
            lowest = np.flatnonzero(marks <= bound)[:MOST_ROWS]
            table, marks = table.take(pa.array(lowest)), marks[lowest]
        self.rows, self._marks = table, marks

    def _marked(self, table: pa.Table) -> np.ndarray:
        ids = one_array(table.column("id"))
        marks = np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset :: 2][: len(ids)]
        marks = marks.astype(np.uint64)
        if self._grouping is not None:
            seen = np.flatnonzero(picked(table, self._grouping.only))
            rows = rows_of(table.take(pa.array(seen)), self._run_seed)
            for place, row in zip(seen.tolist(), rows, strict=True):
                # A row whose key fails ends there, in no group.
                with contextlib.suppress(Exception):
                    key = self._grouping.key(row).encode()
                    digest = hashlib.blake2b(key, digest_size=8).digest()
                    marks[place] = int.from_bytes(digest, "big")
        return marks


def rows_in_groups(recipe: Recipe) -> Gather | None:
    """Return the step that groups rows as they were read, so that a sample must hold its groups.

    Rows that a step made of the same row are sampled together in any case.
    """
    for step in recipe.steps:
        if isinstance(step, Gather):
            return step
        if isinstance(step, Generate | Grow):
            return None
    return None


def _parse(part: Part) -> _Parsed:
    rows = read_part(part)
    raw = [digest(b"unreadable\0" + u.raw) for u in rows.unreadable]
    return _Parsed(part, rows, content_digests(rows.table), raw)


def _with_head(table: pa.Table, ids: np.ndarray, seqs: pa.ListArray) -> pa.Table:
    """Put `id` and `seq` in front."""
    column = pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(ids)])
    return table.add_column(0, "id", column).add_column(1, pa.field("seq", SEQ), seqs)
