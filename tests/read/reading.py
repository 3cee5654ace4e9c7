"""Read inputs as the engine does: parts in order, places counted through a file."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pyarrow as pa

from curate.chunk import Chunk
from curate.read import open_inputs, read_part
from curate.row import Row


class Everything(NamedTuple):
    table: pa.Table
    rows: list[Row]
    records: int
    failed: list[tuple[int, int | None, str, bytes]]


def read_all(inputs: Any, **options: Any) -> Everything:
    """Return all rows, and unreadable records as (ordinal, line, error, raw) in their file."""
    tables, failed, records, lines = [], [], 0, 0
    for part in open_inputs(inputs, **options).parts():
        rows = read_part(part)
        assert len(rows.ordinals) + len(rows.unreadable) == rows.records
        places = sorted([*rows.ordinals.tolist(), *(u.ordinal for u in rows.unreadable)])
        assert places == list(range(rows.records))
        failed += [
            (u.ordinal + records, u.line and u.line + lines, u.error, u.raw)
            for u in rows.unreadable
        ]
        tables.append(rows.table)
        records += rows.records
        lines += rows.lines
    table = pa.concat_tables(tables)
    return Everything(table, _rows(table), records, failed)


def _rows(table: pa.Table) -> list[Row]:
    count = table.num_rows
    whole = table.append_column("id", pa.array([b"0" * 16] * count, pa.binary(16)))
    whole = whole.append_column("seq", pa.array([[0, 0, i] for i in range(count)]))
    return Chunk(whole).rows()


def alpaca(**fields: Any) -> dict[str, Any]:
    return {"instruction": "Say hello.", "input": "", "output": "Hello."} | fields


def lines_of(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
