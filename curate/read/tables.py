"""CSV, TSV and Parquet: tables whose columns are a record's keys."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import InputError
from curate.read.part import PART_ROWS, RAW_BYTES, Read

if TYPE_CHECKING:
    import pyarrow as pa


def read_csv(path: Path, delimiter: str) -> Iterator[Read]:
    """Yield the records of a file with a header; a row of another width is an error of its own."""
    csv.field_size_limit(sys.maxsize)
    # Bytes that are no UTF-8 become surrogates here, so that only their own row fails.
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader, None)
        if header is None:
            return
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Read(None, f"broken {path.suffix[1:].upper()}: {error}", b"", line)
                continue
            if row:
                yield _record(header, row, delimiter, line)


def _record(header: list[str], row: list[str], delimiter: str, line: int) -> Read:
    raw = delimiter.join(row).encode("utf-8", "surrogateescape")[:RAW_BYTES]
    if len(row) != len(header):
        return Read(None, f"{len(row)} fields, and the header has {len(header)}", raw, line)
    try:
        raw.decode()
        "".join(row).encode()
    except UnicodeError:
        return Read(None, "invalid UTF-8", raw, line)
    return Read(dict(zip(header, row, strict=True)), None, raw, line)


def read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file, 16,384 at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            waiting: list[pa.Table] = []
            rows = 0
            for batch in file.iter_batches(batch_size=PART_ROWS):
                waiting.append(pa.Table.from_batches([batch]))
                rows += batch.num_rows
                # Batches end with row groups; parts do not.
                if rows >= PART_ROWS:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, PART_ROWS)
                    waiting, rows = [whole.slice(PART_ROWS)], rows - PART_ROWS
            if rows:
                yield pa.concat_tables(waiting)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from error
