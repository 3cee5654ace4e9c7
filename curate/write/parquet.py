"""Write records to Parquet when no one has said which columns they have.

A column may first appear in the last row, so the rows are set aside on disk until all columns are
known; a schema made of the first rows would drop the rest without a word.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import UsageError

_BATCH = 16_384


def write_parquet(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write `records` to `path` with the columns of all of them, 16,384 rows a group."""
    with tempfile.TemporaryFile(dir=path.parent) as aside:
        tables = _set_aside(records, aside)
        try:
            schema = pa.unify_schemas([table for _, table in tables], promote_options="permissive")
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for table in _taken_back(aside, [size for size, _ in tables]):
                    parts = [schema.empty_table(), table]
                    whole = pa.concat_tables(parts, promote_options="permissive")
                    writer.write_table(whole.select(schema.names))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UsageError(f"columns of mixed types: {error}; write .jsonl instead") from error
        except pa.ArrowNotImplementedError as error:
            raise UsageError(
                f"Parquet cannot hold these columns: {error}; write .jsonl instead"
            ) from error


def _set_aside(
    records: Iterable[Mapping[str, Any]], aside: IO[bytes]
) -> list[tuple[int, pa.Schema]]:
    """Write batches to the file `aside`; return their sizes and schemas."""
    rows, out = iter(records), []
    while batch := list(itertools.islice(rows, _BATCH)):
        table = _table(batch)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        out.append((aside.write(sink.getvalue()), table.schema))
    return out or [(0, pa.schema([]))]


def _taken_back(aside: IO[bytes], sizes: list[int]) -> Iterator[pa.Table]:
    aside.seek(0)
    for size in filter(None, sizes):
        yield pa.ipc.open_stream(aside.read(size)).read_all()


def _table(batch: list[Mapping[str, Any]]) -> pa.Table:
    columns = {}
    for name in dict.fromkeys(name for record in batch for name in record):
        try:
            columns[name] = pa.array([record.get(name) for record in batch])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise UsageError(
                f"column '{name}' holds values of several types: {error}; write .jsonl instead"
            ) from error
    return pa.table(columns)
