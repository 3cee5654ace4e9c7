"""Read a part as whole columns, where it is regular: what `rows` would give, byte for byte.

Of JSON lines, Arrow must find exactly the shape's columns, a row for each line and nothing that
strict JSON would refuse; other members are split off before. A table's batch must have the shape's
columns with their types. `None` means that the part wants a closer look, record by record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from curate.chunk import one_array
from curate.read.arrow.arrow_tables import records_of
from curate.read.members import split_lines
from curate.read.part import LINE_BYTES, MOST_VALUES, Part, PartRows, Read
from curate.read.shapes import shape as shape_called
from curate.read.shapes.record_fields import MARKS, dumps
from curate.read.shapes.shape import Shape

_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"


def lines_at_once(part: Part, data: bytes) -> PartRows | None:
    """Return the rows of JSON lines."""
    form = shape_called(part.shape)
    count = _plain_lines(data) if form.to_columns else None
    if form.columns is None or count is None:
        return None
    columns = form.columns()
    table, extra = _arrow(data, columns), None
    if table is None:
        # Most often it refused a column that the shape does not have.
        split = split_lines(data, count, columns)
        if split is None or not _plainly_extra(form, split.names):
            return None
        table, extra = _arrow(split.lines, columns), split.extra
    if table is None or table.num_rows != count:
        return None
    return _part_rows(part, form, table, extra)


def table_at_once(part: Part, table: pa.Table) -> PartRows | None:
    """Return the rows of a table's batch."""
    form = shape_called(part.shape)
    if form.columns is None or _is_broken(table):
        return None
    columns = form.columns()
    given = {name: _fitting(table, name, type_) for name, type_ in columns.items()}
    others = [name for name in table.column_names if name not in columns]
    fits = all(column is not None for column in given.values())
    if not fits or not _plainly_extra(form, others):
        return None
    try:
        texts = []
        for name in others:
            column = one_array(table.column(name))
            if pa.types.is_integer(column.type):
                texts.append((name, pc.fill_null(column.cast(pa.string()), "null")))
            else:
                values = [dumps(record[""]) for record in records_of(pa.table({"": column}))]
                texts.append((name, pa.array(values, pa.string())))
        extra = _objects(texts)
        return _part_rows(part, form, pa.table(given), extra)
    except Exception:
        # An infinite number, a date that Python has not: each fails its own row only.
        return None


def records_at_once(part: Part, reads: Sequence[Read]) -> PartRows | None:
    """Return the rows of records that all have the same columns, with texts for the shape's."""
    form = shape_called(part.shape)
    if form.columns is None or not reads or any(read.error is not None for read in reads):
        return None
    columns, names = form.columns(), list(reads[0].record)
    records = [read.record for read in reads]
    others = [name for name in names if name not in columns]
    # Lists of turns are left alone: Arrow would pass over keys that it was not told of.
    if not all(map(pa.types.is_string, columns.values())) or not _plainly_extra(form, others):
        return None
    if any(list(record) != names for record in records):
        return None
    given = {name: [record.get(name) for record in records] for name in columns}
    if any(set(map(type, column)) - {str, type(None)} for column in given.values()):
        return None
    try:
        cells = [(name, [dumps(record[name]) for record in records]) for name in others]
        extra = _objects((name, pa.array(texts, pa.string())) for name, texts in cells)
        table = pa.table({n: pa.array(column, pa.string()) for n, column in given.items()})
    except (ValueError, TypeError, RecursionError):
        return None
    return _part_rows(part, form, table, extra)


def _plainly_extra(form: Shape, names: Iterable[str]) -> bool:
    """Tell whether columns of these names are extra to a shape, and nothing else."""
    refused = (*MARKS, *form.system, *form.closer)
    return not any(name in refused for name in names)


def _part_rows(part: Part, form: Shape, table: pa.Table, extra: pa.Array | None) -> PartRows | None:
    """Convert a shape's columns, and join what the shape marks to the other columns' text."""
    fields = form.to_columns(table) if form.to_columns else None
    if fields is None or _is_broken(fields):
        return None
    count = table.num_rows
    columns = {
        "source": pa.repeat(pa.scalar(part.source, pa.string()), count),
        "kind": pa.repeat(pa.scalar(form.kind, pa.string()), count),
        **{name: fields.column(name) for name in fields.column_names},
    }
    if extra is not None:
        # The members that the shape marks go behind the row's own.
        marks = one_array(columns["extra"])
        columns["extra"] = extra
        if marks.null_count < len(marks):
            opened = pc.utf8_slice_codeunits(extra, 0, -1)
            both = pc.binary_join_element_wise(opened, pc.utf8_slice_codeunits(marks, 1), ",")
            columns["extra"] = pc.coalesce(both, extra)
    lines = count if part.form in ("range", "lines") else 0
    return PartRows(pa.table(columns), np.arange(count, dtype=np.int64), count, lines, [])


def _is_broken(table: pa.Table) -> bool:
    """Tell whether a table holds texts that are not UTF-8."""
    try:
        table.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return True
    return False


# -- JSON lines -----------------------------------------------------------------------------------


def _plain_lines(data: bytes) -> int | None:
    """Return the number of lines, or `None` where one may not be an object from brace to brace."""
    if not data:
        return None
    view = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(view[:-1] == _NEWLINE)
    last = len(view) - 1 if view[-1] != _NEWLINE else len(view) - 2
    ends = np.append(newlines - 1, last)
    if len(data) > MOST_VALUES and _may_be_too_large(data, ends + 1):
        return None
    ends -= view[ends] == _RETURN
    # Arrow takes objects across lines and several on one. Where every line begins and ends with a
    # brace it cannot have crossed one: inside an object or a list, } and { never follow each other.
    whole = bool((view[ends] == _CLOSE).all() and (view[newlines + 1] == _OPEN).all())
    return len(ends) if whole and view[0] == _OPEN else None


def _may_be_too_large(data: bytes, ends: np.ndarray) -> bool:
    """Tell whether a line may be longer than a record may be, or have more values."""
    sizes = np.diff(ends, prepend=-1) - 1
    if sizes.max() > LINE_BYTES:
        return True
    for line in np.flatnonzero(sizes > MOST_VALUES):
        place = int(ends[line] - sizes[line]), int(ends[line])
        if sum(data.count(mark, *place) for mark in (b",", b"[", b"{")) > MOST_VALUES:
            return True
    return False


def _arrow(data: bytes | pa.Buffer, columns: dict[str, pa.DataType]) -> pa.Table | None:
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


# -- batches of tables ----------------------------------------------------------------------------


def _fitting(table: pa.Table, name: str, wanted: pa.DataType) -> pa.Array | None:
    """Return a column in the type that the shape reads, or `None` where it holds something else."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, wanted)
    column = one_array(table.column(name))
    if pa.types.is_string(wanted):
        return _text_column(column)
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return None
    turns = column.flatten()
    if column.null_count or turns.null_count or not pa.types.is_struct(turns.type):
        return None
    fields = {field.name: turns.field(i) for i, field in enumerate(turns.type)}
    if len(fields) != turns.type.num_fields:
        return None
    inner = [fields.pop(field.name, None) for field in wanted.value_type]
    texts = [None if one is None else _text_column(one) for one in inner]
    # A key that is null says the same as no key.
    if any(text is None for text in texts) or any(
        rest.null_count < len(rest) for rest in fields.values()
    ):
        return None
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    struct = pa.StructArray.from_arrays(texts, fields=list(wanted.value_type))
    return pa.ListArray.from_arrays(offsets, struct)


def _text_column(column: pa.Array) -> pa.Array | None:
    """Return a column of texts as such, whatever Arrow type holds them."""
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    return column.cast(pa.string()) if is_text or pa.types.is_null(type_) else None


def _objects(members: Iterable[tuple[str, pa.Array]]) -> pa.Array | None:
    """Return JSON objects with these members, each a name and the texts of its values."""
    pieces: list[pa.Array | str] = []
    for name, texts in members:
        pieces += ["," if pieces else "{", dumps(name) + ":", texts]
    return pc.binary_join_element_wise(*pieces, "}", "") if pieces else None
