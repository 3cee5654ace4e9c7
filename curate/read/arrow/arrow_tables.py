"""Parquet files and those of Arrow, as tables of a part's rows and as records."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import InputError
from curate.read.arrow.arrow_messages import messages_of
from curate.read.arrow.parquet_pages import Column, columns_of
from curate.read.arrow.table_bounds import FileBound, check_at_once, check_values
from curate.read.class_names import with_class_names
from curate.read.part import LINE_BYTES, PART_BYTES, PART_ROWS, Read
from curate.read.strict_json import parse
from curate.read.tables import check_names
from curate.rows.named_values import names_values, row_bytes

if TYPE_CHECKING:
    import pyarrow as pa


# How many bytes the rows of a part may hold that is made smaller for them.
_LARGE_BYTES = PART_BYTES // 4
# Values of a fixed width that no number has.
_WIDE_BYTES = 1 << 10


def read_table(path: Path, form: str) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet or Arrow file, 16,384 at a time, fewer where rows are large."""
    import pyarrow as pa

    kind = "Parquet" if form == ".parquet" else "Arrow"
    try:
        tables = _parquet(path) if form == ".parquet" else _arrow(path)
        yield from (with_class_names(table, str(path)) for table in tables)
    except (pa.ArrowException, OSError, UnicodeDecodeError, SystemError) as error:
        raise InputError(f"{path}: not a readable {kind} file: {error}") from error


def _parquet(path: Path) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        schema = file.schema_arrow
        check_names(path, schema.names)
        bound = FileBound(path)
        bound.add_rows(metadata.num_rows)
        groups = columns_of(path, metadata)
        for number, columns in enumerate(groups, 1):
            rows = metadata.row_group(number - 1).num_rows
            _check_row_group(f"{path}: row group {number}", rows, columns)
        # What names more in a row group than a part may hold.
        pairs = [(PART_BYTES // len(columns), c) for columns in groups for c in columns]
        named = list(dict.fromkeys(c.path for n, c in pairs if c.texts and c.named > n))
        size = max(1, sum(column.unpacked for columns in groups for column in columns))
        # As many rows of their average size as fit into a part.
        count = max(1, min(PART_ROWS, PART_BYTES * int(metadata.num_rows) // size))
        if not named:
            yield from _recut(_sliced(file.iter_batches(batch_size=count), bound), count)
            return
    # What a dictionary holds once stays there until it is known what the rows make of it.
    with pq.ParquetFile(path, read_dictionary=named) as file:
        for table in _recut(_sliced(file.iter_batches(batch_size=count), bound), count):
            yield table.cast(schema)


def _check_row_group(where: str, rows: int, columns: Sequence[Column]) -> None:
    """Check that the rows of a row group can be held, by what its pages unpack to.

    Raises:
        InputError: they are larger than a row may be, on average, or a bomb.
    """
    unpacked = sum(column.unpacked for column in columns)
    if unpacked > LINE_BYTES * max(1, rows):
        raise InputError(
            f"{where} holds {unpacked >> 20:,} MB in {rows:,} rows, and a row may have "
            f"{LINE_BYTES >> 20} MB; split its values into several rows"
        )
    packed = sum(column.packed for column in columns)
    mend = "write it with smaller pages (data_page_size=, write_batch_size=)"
    check_at_once(where, packed, sum(column.largest for column in columns), mend)
    for column in columns:
        name = f"{where}: column '{column.path}'"
        if not column.texts and column.named > _WIDE_BYTES * column.values:
            check_at_once(name, column.packed, column.named, "write its values as binary ones")
        if column.values > rows:
            check_values(name, column.packed, column.values)


def _arrow(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a file of Arrow's, as `datasets` writes them: a stream, or a file."""
    import pyarrow as pa

    bound = FileBound(path)

    def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
        bound.add_rows(batch.num_rows)
        # The lengths that a batch states are believed: a damaged file would read other memory.
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                _check_places(column)
            except pa.ArrowInvalid as error:
                raise pa.ArrowInvalid(f"column '{name}': {error}") from None
        return batch

    packed = unpacked = 0
    for number, message in enumerate(messages_of(path), 1):
        mend = "write it in smaller batches (max_chunksize=)"
        check_at_once(f"{path}: batch {number}", message.packed, message.unpacked, mend)
        if message.is_dictionary:
            packed, unpacked = packed + message.packed, unpacked + message.unpacked
            mend = "write the texts as texts"
            check_at_once(f"{path}: all its dictionaries", packed, unpacked, mend)
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        check_names(path, reader.schema.names)
        places = range(reader.num_record_batches) if is_file else ()
        batches = map(checked, map(reader.get_batch, places) if is_file else iter(reader))
        first = next(batches, None)
        if first is not None:
            size = max(1, first.nbytes)
            count = max(1, min(PART_ROWS, PART_BYTES * max(1, first.num_rows) // size))
            yield from _recut(_sliced(itertools.chain([first], batches), bound), count)


def _sliced(
    batches: Iterable[pa.RecordBatch], bound: FileBound
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield batches in pieces of whose rows a part can hold all that they name, and its bytes.

    Those are 0 where rows name nothing.
    """
    for batch in batches:
        if not names_values(batch.schema):
            yield batch, 0
            continue
        for at in range(0, batch.num_rows, PART_ROWS):
            piece = batch.slice(at, PART_ROWS)
            sizes = row_bytes(piece)
            bound.add_bytes(sizes)
            ends = np.cumsum(sizes)
            start = 0
            while start < piece.num_rows:
                before = ends[start - 1] if start else 0.0
                stop = int(np.searchsorted(ends, before + _LARGE_BYTES, "right"))
                stop = max(start + 1, stop)
                yield piece.slice(start, stop - start), int(ends[stop - 1] - before)
                start = stop


def _check_places(values: pa.Array) -> None:
    """Raise `ArrowInvalid` where values lie outside of their array; bad UTF-8 fails its own row."""
    import pyarrow as pa

    try:
        values.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "utf8" not in str(error).lower():
            raise
        # It stopped there, and has seen nothing of what lies beside.
        if pa.types.is_struct(values.type):
            for index in range(values.type.num_fields):
                _check_places(values.field(index))
        elif pa.types.is_map(values.type):
            _check_places(values.keys)
            _check_places(values.items)
        elif pa.types.is_nested(values.type):
            _check_places(values.values)
        elif pa.types.is_dictionary(values.type):
            _check_places(values.dictionary)


def _recut(batches: Iterable[tuple[pa.RecordBatch, int]], count: int) -> Iterator[pa.Table]:
    """Yield tables of `count` rows, or of 64 MB; batches end with row groups, and parts do not.

    A batch comes with the bytes that its rows take once they hold what they name, or 0.
    """
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = size = 0
    for batch, named in batches:
        size += named
        waiting.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows >= count:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, count)
            waiting, rows, size = [whole.slice(count)], rows - count, 0
        if rows and (size > PART_BYTES or (size > _LARGE_BYTES and 8 * rows < count)):
            # A few rows far above the average: each is held several times while it is read.
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.concat_tables(waiting)


def table_reads(table: pa.Table) -> list[Read]:
    """Return the rows of a table as records; a row that Python cannot hold is an error of its own.

    Dates beyond the year 9999, times of a zone that nobody knows and the like are not values here.
    """
    try:
        return list(map(Read, records_of(table)))
    except Exception:  # which ones, depends on the types of the columns
        return [_read(table.slice(index, 1)) for index in range(table.num_rows)]


def _read(table: pa.Table) -> Read:
    name = ""
    try:
        for name in table.column_names:
            records_of(table.select([name]))
        return Read(records_of(table)[0])
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        return Read(None, f"column '{name}' cannot be read: {said}", f"column '{name}'".encode())


def records_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table; columns of Arrow's JSON type as the values that they hold.

    A text that is not UTF-8 comes with its bytes as surrogates, so that only its own row fails.
    """
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except UnicodeDecodeError:
        rows = [_row(table.slice(index, 1)) for index in range(table.num_rows)]
    decoders = {field.name: _json_decoder(field.type) for field in table.schema}
    for name, decode in decoders.items():
        if decode is not None:
            for row in rows:
                with contextlib.suppress(ValueError, RecursionError):
                    row[name] = decode(row[name])
    return rows


def _row(table: pa.Table) -> dict[str, Any]:
    row = {}
    for name in table.column_names:
        try:
            row[name] = table.column(name).to_pylist()[0]
        except UnicodeDecodeError as error:
            row[name] = bytes(error.object).decode("utf-8", "surrogateescape")
    return row


def _json_decoder(type_: pa.DataType) -> Callable[[Any], Any] | None:
    """Return what turns the JSON texts in values of a type into what they hold, if it has any."""
    import pyarrow as pa

    if isinstance(type_, pa.JsonType):
        return lambda value: None if value is None else parse(value)
    if pa.types.is_struct(type_):
        inner = {f.name: decode for f in type_ if (decode := _json_decoder(f.type)) is not None}
        if inner:
            return lambda value: (
                value and {key: inner[key](v) if key in inner else v for key, v in value.items()}
            )
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        each = _json_decoder(type_.value_type)
        if each is not None:
            return lambda value: value if value is None else [each(v) for v in value]
    return None
