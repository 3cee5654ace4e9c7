"""Read one part: columns at once where the part is plain and regular, else record by record.

The fast path holds only if Arrow finds exactly the shape's columns, a row for each non-blank line
and nothing that strict JSON would refuse; otherwise the part is read again line by line. Both give
the same bytes, so the choice never shows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from curate.chunk import field_array
from curate.read.lines import BOM
from curate.read.part import RAW_BYTES, Part, PartRows, Read, Unreadable
from curate.read.shapes import Columnar
from curate.read.shapes import shape as shape_called
from curate.read.shapes.fields import dumps
from curate.read.strict import check_text, describe, line_count, read_lines
from curate.row import KINDS, Record

_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"


def read_part(part: Part) -> PartRows:
    """Return the rows of `part`; what cannot be read comes back with its place and reason."""
    if part.form == "records":
        # Their lines are already those of the file.
        return _rows(part, part.data, 0)
    if part.form == "long":
        return _rows(part, [part.data], 1)
    if part.form == "batch":
        return _rows(part, map(Read, part.data.to_pylist()), 0)
    data = _bytes(part)
    if part.first and data.startswith(BOM):
        data = data[len(BOM) :]
    fast = None if part.broken else _fast(part, data)
    if fast is not None:
        return fast
    lines = line_count(data)
    records = _broken_off(part, data, lines) if part.broken else read_lines(data)
    return _rows(part, records, lines)


def _broken_off(part: Part, data: bytes, lines: int) -> Iterator[Read]:
    """Yield the whole lines of the last part of a broken file, then where it breaks off."""
    whole = data[: data.rfind(b"\n") + 1]
    yield from read_lines(whole)
    rest = data[len(whole) :]
    yield Read(None, part.broken, rest[:RAW_BYTES], lines if rest else lines + 1)


def raw_lines(part: Part, ordinals: np.ndarray) -> list[memoryview]:
    """Return the bytes of some records of a plain part, neighbours as one piece, newlines included.

    `ordinals` (int64) count up; this is how rows leave as they came.
    """
    data = _bytes(part)
    if not data.endswith(b"\n"):
        data += b"\n"
    start = len(BOM) if part.first and data.startswith(BOM) else 0
    begins, ends = _filled_lines(data, start)
    begins, ends = begins[ordinals], ends[ordinals]
    fresh = np.ones(len(ordinals), bool)
    fresh[1:] = begins[1:] != ends[:-1]
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(ordinals)) - 1
    view = memoryview(data)
    return [view[a:b] for a, b in zip(begins[first].tolist(), ends[last].tolist(), strict=True)]


def _filled_lines(data: bytes, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each line that is not blank begins and ends (behind its newline)."""
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == _NEWLINE) + 1
    begins = np.concatenate([[start], ends[:-1]])
    odd = np.flatnonzero(view[begins] != _OPEN).tolist()
    blank = [i for i in odd if not data[begins[i] : ends[i]].strip()]
    return (np.delete(begins, blank), np.delete(ends, blank)) if blank else (begins, ends)


def _bytes(part: Part) -> bytes:
    if part.form == "lines":
        return bytes(part.data)
    handle = os.open(part.path, os.O_RDONLY)
    try:
        pieces, offset, left = [], part.offset, part.length
        while left and (piece := os.pread(handle, left, offset)):
            pieces.append(piece)
            offset, left = offset + len(piece), left - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(handle)


# -- whole columns --------------------------------------------------------------------------------


def _fast(part: Part, data: bytes) -> PartRows | None:
    if not hasattr(shape_called(part.shape), "to_columns"):
        return None
    form = cast(Columnar, shape_called(part.shape))
    count = _plain_lines(data)
    if count is None:
        return None
    table = _arrow(data, form.columns())
    if table is None or table.num_rows != count:
        return None
    fields = form.to_columns(table)
    if fields is None:
        return None
    try:
        fields.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    head = {
        "source": pa.repeat(pa.scalar(part.source, pa.string()), count),
        "kind": pa.repeat(pa.scalar(form.KIND, pa.string()), count),
    }
    table = pa.table({**head, **{name: fields.column(name) for name in fields.column_names}})
    return PartRows(table, np.arange(count, dtype=np.int64), count, count, [])


def _plain_lines(data: bytes) -> int | None:
    """Return the number of lines, or `None` where one may be no object from brace to brace."""
    if not data:
        return None
    view = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(view[:-1] == _NEWLINE)
    last = len(view) - 1 if view[-1] != _NEWLINE else len(view) - 2
    ends = np.append(newlines - 1, last)
    ends -= view[ends] == _RETURN
    # Arrow takes objects across lines and several on one. Where every line begins and ends with a
    # brace it cannot have crossed one: inside an object or a list, } and { never follow each other.
    whole = bool((view[ends] == _CLOSE).all() and (view[newlines + 1] == _OPEN).all())
    return len(ends) if whole and view[0] == _OPEN else None


def _arrow(data: bytes, columns: dict[str, pa.DataType]) -> pa.Table | None:
    """Return the lines as columns, or `None` where Arrow finds anything beside texts.

    With every column declared a text and no other allowed, Arrow refuses what strict JSON would
    (NaN, numbers, duplicate keys, lone surrogates, raw control characters) and never descends into
    deep nesting, which crashes its type inference. Left to check: two objects on a line, bad UTF-8.
    """
    try:
        return pj.read_json(
            pa.BufferReader(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema(list(columns.items())), unexpected_field_behavior="error"
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None


# -- record by record -----------------------------------------------------------------------------


def _rows(part: Part, records: Iterable[Read], lines: int) -> PartRows:
    """Convert records one by one; a conversion that fails makes its record unreadable."""
    to_record, kind = shape_called(part.shape).to_record, shape_called(part.shape).KIND
    good: list[Record] = []
    ordinals: list[int] = []
    unreadable: list[Unreadable] = []
    ordinal = -1
    for ordinal, read in enumerate(records):
        error, raw = read.error, read.raw
        if error is None:
            try:
                if not raw:
                    check_text(read.record)
                good.append(to_record(read.record))
                ordinals.append(ordinal)
                continue
            except (ValueError, TypeError, RecursionError) as wrong:
                error = describe(wrong)
                raw = raw or _raw(read.record)
        unreadable.append(Unreadable(ordinal, read.line, error, raw))
    table = _table(part, kind, good)
    return PartRows(table, np.array(ordinals, np.int64), ordinal + 1, lines, unreadable)


def _raw(record: Any) -> bytes:
    return dumps(record).encode("utf-8", "replace")[:RAW_BYTES]


def _table(part: Part, kind: str, records: Sequence[Record]) -> pa.Table:
    count = len(records)
    columns = {
        "source": pa.repeat(pa.scalar(part.source, pa.string()), count),
        "kind": pa.repeat(pa.scalar(kind, pa.string()), count),
    }
    for name in KINDS[kind]:
        columns[name] = field_array(name, [record.fields.get(name) for record in records])
    columns["extra"] = pa.array([record.extra for record in records], pa.string())
    return pa.table(columns)
