"""Read one part: columns at once where the part is plain and regular, else record by record.

Both ways give the same bytes, so the choice never shows.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from curate.chunk import field_array
from curate.read.arrow.arrow_tables import table_reads
from curate.read.columns import lines_at_once, records_at_once, table_at_once
from curate.read.finished_runs import published_rows
from curate.read.lines import BOM
from curate.read.part import RAW_BYTES, Part, PartRows, Read, Unreadable
from curate.read.shapes import shape as shape_called
from curate.read.shapes.record_fields import shown
from curate.read.shapes.shape import ARRAY, Shape
from curate.read.strict_json import check_text, describe, line_count, read_lines
from curate.row import KINDS, Record

_NEWLINE, _OPEN = b"\n{"


def read_part(part: Part) -> PartRows:
    """Return the rows of `part`; what cannot be read comes back with its place and reason."""
    if part.form == "records":
        # Their lines are already those of the file.
        return records_at_once(part, part.data) or _rows(part, part.data, 0)
    if part.form == "blank":
        # Rows without content, for steps that make something of nothing.
        count: int = part.data
        columns = {
            "kind": pa.repeat(pa.scalar("prompt", pa.string()), count),
            "source": pa.repeat(pa.scalar(part.source, pa.string()), count),
            "prompt": field_array("prompt", [()] * count),
            "extra": pa.nulls(count, pa.string()),
        }
        return PartRows(pa.table(columns), np.arange(count), count, 0, [])
    if part.form == "long":
        return _rows(part, [part.data], 1)
    if part.form == "rows":
        return published_rows(part)
    if part.form == "batch":
        fast = table_at_once(part, part.data)
        return fast or _rows(part, table_reads(part.data), 0)
    data = _bytes(part)
    if part.first and data.startswith(BOM):
        data = data[len(BOM) :]
    fast = None if part.broken else lines_at_once(part, data)
    if fast is not None:
        return fast
    lines = line_count(data)
    if not part.broken:
        return _rows(part, read_lines(data), lines)
    # The whole lines of the last part of a broken file, then where it breaks off.
    whole = data[: data.rfind(b"\n") + 1]
    rest = data[len(whole) :]
    end = Read(None, part.broken, rest[:RAW_BYTES], lines if rest else lines + 1)
    return _rows(part, itertools.chain(read_lines(whole), [end]), lines)


def raw_lines(part: Part, ordinals: np.ndarray) -> pa.LargeBinaryArray:
    """Return the lines of some records (int64) of a plain part, each with its newline.

    This is how rows leave as they came.
    """
    data = _bytes(part)
    if not data.endswith(b"\n"):
        data += b"\n"
    start = len(BOM) if part.first and data.startswith(BOM) else 0
    # Where each line ends (behind its newline), and which of them are not blank.
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == _NEWLINE) + 1
    begins = np.append(start, ends[:-1])
    odd = np.flatnonzero(view[begins] != _OPEN).tolist()
    blank = [i for i in odd if not data[begins[i] : ends[i]].strip()]
    filled = np.delete(np.arange(len(ends)), blank)
    offsets = pa.py_buffer(np.append(start, ends))
    buffers = [None, offsets, pa.py_buffer(data)]
    lines = pa.Array.from_buffers(pa.large_binary(), len(ends), buffers)
    return lines.take(pa.array(filled[ordinals]))


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


# -- record by record -----------------------------------------------------------------------------


def _rows(part: Part, records: Iterable[Read], lines: int) -> PartRows:
    """Convert records one by one; a conversion that fails makes its record unreadable."""
    form = shape_called(part.shape)
    good: list[Record] = []
    ordinals: list[int] = []
    unreadable: list[Unreadable] = []
    ordinal = -1
    for ordinal, read in enumerate(_entries(form, records)):
        error, raw = read.error, read.raw
        if error is None:
            try:
                if not raw:
                    check_text(read.record)
                good.append(form.read(read.record))
                ordinals.append(ordinal)
                continue
            except (ValueError, TypeError, RecursionError) as wrong:
                error = describe(wrong)
                raw = raw or shown(read.record).encode("utf-8", "replace")[:RAW_BYTES]
        unreadable.append(Unreadable(ordinal, read.line, error, raw, read.file))
    columns = {
        "source": pa.repeat(pa.scalar(part.source, pa.string()), len(good)),
        "kind": pa.repeat(pa.scalar(form.kind, pa.string()), len(good)),
    }
    for name in KINDS[form.kind]:
        columns[name] = field_array(name, [record.fields.get(name) for record in good])
    columns["extra"] = pa.array([record.extra for record in good], pa.string())
    return PartRows(pa.table(columns), np.array(ordinals, np.int64), ordinal + 1, lines, unreadable)


def _entries(form: Shape, reads: Iterable[Read]) -> Iterator[Read]:
    """Yield the records that become rows: lists where the shape is one, instances of a task."""
    for read in reads:
        if isinstance(read.record, list) and form.signatures == ((ARRAY,),):
            yield read._replace(record={ARRAY: read.record}, error=None)
        elif form.instances is not None and read.error is None:
            for record in form.instances(read.record):
                yield read._replace(record=record)
        else:
            yield read
