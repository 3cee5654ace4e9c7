"""Write the files of a run: kept, used, dropped, failed and the ledger, part after part, in order.

Parts arrive in source order; rows of one outcome are re-cut every 16,384 rows, so that the files do
not show how the work was split. Files are encoded on a pool of threads and appear together, when
the whole run is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.chunk import FIELDS, SCORE, TAIL, one_array, sort_by_seq
from curate.engine.ledger import DROPPED, FAILED, PASSED, USED
from curate.engine.state import PartitionState, load, release
from curate.row import KINDS
from curate.runs.folder import SECTIONS
from curate.system.posix import sync

FILE_ROWS = 16_384
# Columns with few distinct values; Parquet's own dictionaries make them almost free.
_FEW_VALUES = ("step", "outcome", "reason", "source", "file")
# Hashes do not compress: trying costs time and gains nothing.
_HASHES = ("id", "row", "partner", "parents.list.element")
# What the failed file says beside the rows' own columns.
_FAILURE_TYPES = {
    "step": pa.string(),
    "error": pa.string(),
    "file": pa.string(),
    "line": pa.int64(),
    "raw": pa.binary(),
}
_ENDINGS = {PASSED: "kept", USED: "used", DROPPED: "dropped"}
# Files being encoded at once, over all folders: each holds its rows until then.
_MOST_WAITING = 4


class Files:
    """The files on their way to the disk: encoded on a pool, made durable by one more thread."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="curate-disk")
        self._writing: deque[tuple[Future[None], Path]] = deque()
        self._syncing: deque[Future[None]] = deque()

    def write(self, table: pa.Table, path: Path) -> None:
        """Begin to write a file; wait first while many are under way."""
        self._writing.append((self._pool.submit(write_table, table, path), path))
        while len(self._writing) > _MOST_WAITING:
            self._make_durable()

    def _make_durable(self) -> None:
        # The disk's time is not the encoder's: a thread of its own waits for it.
        written, path = self._writing.popleft()
        written.result()
        self._syncing.append(self._disk.submit(sync, path))

    def finish(self) -> None:
        """Wait for every file."""
        while self._writing:
            self._make_durable()
        while self._syncing:
            self._syncing.popleft().result()

    def close(self) -> None:
        """Stop writing."""
        self._disk.shutdown(wait=True, cancel_futures=True)


class Cutter:
    """Re-cut a stream of tables into numbered files of 16,384 rows."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder, self._files = folder, files
        self._tables: list[pa.Table] = []
        self._rows = self._cut = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        if not table.num_rows:
            return
        self._tables.append(table)
        self._rows += table.num_rows
        if self._rows >= FILE_ROWS:
            whole = pa.concat_tables(self._tables)
            full = self._rows // FILE_ROWS * FILE_ROWS
            for start in range(0, full, FILE_ROWS):
                self._write(whole.slice(start, FILE_ROWS))
            rest = whole.slice(full)
            self._tables, self._rows = ([rest] if rest.num_rows else []), rest.num_rows

    def _write(self, table: pa.Table) -> None:
        self._files.write(table, self._folder / f"part-{self._cut:05d}.parquet")
        self._cut += 1

    def finish(self) -> None:
        """Write what is left."""
        if self._tables:
            self._write(pa.concat_tables(self._tables))
            self._tables = []


def write_table(table: pa.Table, path: Path) -> None:
    """Write `table` as one row group whose bytes depend on its rows alone.

    Statistics, Arrow schemas and dictionaries are off, save for columns with few values, because
    each of those can differ between equal tables. The rows are handed to the writer as one
    contiguous chunk for the same reason. The caller makes the file durable.
    """
    whole = pa.Table.from_arrays([one_array(c) for c in table.columns], schema=table.schema)
    leaves = [leaf for field in table.schema for leaf in _leaves(field.name, field.type)]
    dictionary = [n for n in leaves if n in _FEW_VALUES or n.endswith(".role")]
    pq.write_table(
        whole,
        path,
        row_group_size=max(1, len(whole)),
        compression={n: "NONE" if n in _HASHES else "ZSTD" for n in leaves},
        compression_level={n: 1 for n in leaves if n not in _HASHES},
        use_dictionary=dictionary,
        write_statistics=False,
        store_schema=False,
        data_page_version="1.0",
        version="2.6",
    )


def _leaves(name: str, type_: pa.DataType) -> list[str]:
    """Return the paths of the leaf columns of a column, as Parquet names them."""
    if pa.types.is_struct(type_):
        return [leaf for f in type_ for leaf in _leaves(f"{name}.{f.name}", f.type)]
    if pa.types.is_list(type_):
        return _leaves(f"{name}.list.element", type_.value_type)
    return [name]


class Publisher:
    """Take finished parts in order and write a run's files below `folder`."""

    def __init__(self, folder: Path, labels: Sequence[str], pool: Executor) -> None:
        self._folder, self._labels, self._files = folder, tuple(labels), Files(pool)
        self._cutters: dict[str, Cutter] = {}
        for name in SECTIONS:
            (folder / name).mkdir(parents=True)
        self.counts: dict[str, int] = {}

    def _cutter(self, *names: str) -> Cutter:
        key = "/".join(names)
        if key not in self._cutters:
            self._cutters[key] = Cutter(self._folder.joinpath(*names), self._files)
        return self._cutters[key]

    def add(self, state: PartitionState) -> None:
        """Write one part that has been through every segment."""
        self._add_rows(PASSED, load(state.rows))
        gone = [load(held) for held in state.gone]
        endings = [np.asarray(one_array(table.column("outcome"))) for table in gone]
        for outcome in (USED, DROPPED, FAILED):
            tables = [
                table if (ended == outcome).all() else table.filter(pa.array(ended == outcome))
                for table, ended in zip(gone, endings, strict=True)
                if (ended == outcome).any()
            ]
            if tables:
                whole = pa.concat_tables(tables, promote_options="default")
                self._add_rows(outcome, sort_by_seq(whole))
        for held in (state.rows, *state.gone):
            release(held)

    def written_down(self, states: Iterable[PartitionState]) -> Iterator[PartitionState]:
        """Write the ledger lines of each part that passes by.

        The lines of a step all come from one segment, in the order of parts: they need not wait for
        what later segments say of the rows.
        """
        for state in states:
            for one in state.ledger:
                lines = load(one.held)
                for label, start, count in one.steps:
                    self._cutter("ledger", label).add(lines.slice(start, count))
                release(one.held)
            state.ledger = []
            yield state

    def _add_rows(self, outcome: int, table: pa.Table) -> None:
        if not table.num_rows:
            return
        name = _ENDINGS.get(outcome, "failed")
        self.counts[name] = self.counts.get(name, 0) + table.num_rows
        if outcome == FAILED:
            # Rows of any kind, and unreadable lines.
            failed = row_columns(table, list(FIELDS), self._labels)
            for own, type_ in _FAILURE_TYPES.items():
                there = own in table.column_names
                values = table.column(own) if there else pa.nulls(failed.num_rows, type_)
                failed = failed.append_column(own, values)
            self._cutter("failed").add(failed)
            return
        column = one_array(table.column("kind"))
        kinds = pc.unique(column).to_pylist()
        for kind in sorted(kinds):
            rows = table if len(kinds) == 1 else table.filter(pc.equal(table.column("kind"), kind))
            self._cutter(name, kind).add(row_columns(rows, KINDS[kind], self._labels))

    def finish(self) -> None:
        """Wait for every file."""
        for cutter in self._cutters.values():
            cutter.finish()
        self._files.finish()

    def close(self) -> None:
        """Stop writing."""
        self._files.close()


def row_columns(table: pa.Table, fields: Sequence[str], labels: Sequence[str]) -> pa.Table:
    """Return the columns of a published row file, in their fixed order.

    `parents` is an empty list where a row was read, not made; `scores` is a struct with one number
    per step of the recipe, null where it gave none.
    """
    count, names = table.num_rows, set(table.column_names)

    def column(name: str, type_: pa.DataType) -> pa.Array:
        return one_array(table.column(name)) if name in names else pa.nulls(count, type_)

    columns = {name: table.column(name) for name in ("id", "seq", "source")}
    for name in fields:
        columns[name] = column(name, FIELDS[name])
    columns["extra"] = column("extra", pa.string())
    parents = column("parents", TAIL["parents"])
    if parents.null_count:
        lengths = np.asarray(pc.fill_null(pc.list_value_length(parents), 0))
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        parents = pa.ListArray.from_arrays(offsets, parents.flatten())
    columns["parents"] = parents
    scores = [column(SCORE + label, pa.float64()).cast(pa.float64()) for label in labels]
    columns["scores"] = (
        pa.StructArray.from_arrays(scores, names=list(labels)) if labels else pa.nulls(count)
    )
    columns["notes"] = column("notes", pa.string())
    return pa.table(columns)
