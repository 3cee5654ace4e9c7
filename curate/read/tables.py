"""CSV, TSV, Parquet and XML dumps: tables whose columns are a record's keys."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from xml.parsers import expat

from curate.errors import InputError
from curate.read.class_names import with_class_names
from curate.read.packed import BROKEN, open_packed
from curate.read.part import LINE_BYTES, MOST_VALUES, PART_BYTES, PART_ROWS, RAW_BYTES, Read
from curate.read.strict_json import parse, too_long
from curate.rows.named_values import named_bytes, names_values

if TYPE_CHECKING:
    import pyarrow as pa


# Columns of records that hold lists, and those that may: a table can only hold them as JSON text.
_LISTS = (
    *("messages", "conversations", "conversation", "items"),
    *("candidates", "completions", "responses", "instances"),
)
_LISTS_OR_TEXTS = ("prompt", "completion", "chosen", "rejected")
# How columns begin that hold a list of rewards.
_REWARDS = ("reward", "score")
# Columns of records that hold numbers or flags, and how flags are written (by pandas, too).
_NUMBERS = ("margin", "p_chosen", "preference", "annotator1", "annotator2", "annotator3", "label")
_FLAGS = {"true": True, "True": True, "false": False, "False": False}
_HEADER_CHARS = 40
_PIECE = 1 << 18
# A long text has commas, too.
_MOST_FIELDS = 3 * MOST_VALUES
# How many bytes the rows of a part may hold that is made smaller for them.
_LARGE_BYTES = PART_BYTES // 4
_FLAN = ("question", "answer", "rationale")


def read_xml(path: Path, packing: str) -> Iterator[Read]:
    """Yield every element `row` of a file, its attributes as a record.

    At the end comes what is wrong where it is not well-formed XML, or where a part of it is larger
    than a line may be. A document type is refused: entities of its own can grow without end, and
    name other files.
    """
    rows: collections.deque[Read] = collections.deque()
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            rows.append(Read(attributes, None, b"", parser.CurrentLineNumber))

    def refuse(*_: object) -> NoReturn:
        raise ValueError("a document type (<!DOCTYPE) is refused; remove it")

    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    with open_packed(path, packing) as file:
        done, given = False, 0
        while not done:
            try:
                piece = file.read(_PIECE)
                done, given = not piece, given + len(piece)
                parser.Parse(piece, done)
                # What has no end yet is held until it has one.
                if given - parser.CurrentByteIndex > LINE_BYTES:
                    raise ValueError(f"a tag or a text is larger than {LINE_BYTES >> 20} MB")
            # A LookupError is an encoding that Python has not.
            except (expat.ExpatError, ValueError, LookupError, *BROKEN) as error:
                yield from rows
                yield Read(None, f"the XML breaks off: {error}", b"", parser.CurrentLineNumber)
                return
            while rows:
                read = rows.popleft()
                size = sum(map(len, read.record.values()))
                yield read._replace(size=size)


def read_csv(path: Path, delimiter: str, packing: str = "") -> Iterator[Read]:
    """Yield the records of a file with a header; a row of another width is an error of its own."""
    kind = "CSV" if delimiter == "," else "TSV"
    # The record is too long before one of its fields is.
    csv.field_size_limit(2 * LINE_BYTES)
    file, bounded = _text(path, packing, delimiter, newline="")
    with file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = _header(path, next(reader, []))
        except (csv.Error, *BROKEN) as error:
            raise InputError(
                f"{path}:{reader.line_num or 1}: broken {kind} header: {error}"
            ) from error
        # Lines that the reader has not seen.
        unseen = 0
        while True:
            line = unseen + reader.line_num + 1
            try:
                if bounded.cut:
                    bounded.pass_rest(file)
                    unseen += 1
                    continue
                bounded.mark = bounded.total
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Read(None, f"broken {kind}: {error}", b"", line)
                continue
            except BROKEN as error:
                why = " ".join(str(error).split())
                yield Read(None, f"the file breaks off here: {why}", b"", line)
                return
            if row:
                yield _record(header, row, delimiter, line)


class _BoundedBytes(io.RawIOBase):
    """The bytes of a table, as long as its record is no longer than may be held.

    An unclosed quote would otherwise read the rest of the file into one record. Of a line that is
    too long the rest is left out but for its end, which `pass_rest` passes over.
    """

    def __init__(self, stream: Any, delimiter: str) -> None:
        """Read from `stream`; `total` are the bytes read, `mark` those before the record."""
        self._stream, self._skips, self.total, self.mark = stream, False, 0, 0
        # Whether a record was too long, and the rest of its line has not been passed over.
        self.cut = False
        # The delimiters in the record that began at `_counted`, once it is long.
        self._delimiter, self._counted, self._fields = delimiter.encode(), -1, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, and return how many bytes that were; raise where a record is too long."""
        fields = self._fields if self._counted == self.mark else 0
        if self.total - self.mark > LINE_BYTES or fields > _MOST_FIELDS:
            self.mark, self._skips, self.cut = self.total, True, True
            found = too_long() if fields <= _MOST_FIELDS else f"of over {_MOST_FIELDS:,} fields"
            raise csv.Error(f"a record is {found}; is a quote not closed?")
        count = self._stream.readinto(buffer) or 0
        while self._skips and count:
            newline = bytes(buffer[:count]).find(b"\n")
            self._skips = newline < 0
            if newline >= 0:
                count -= newline
                buffer[:count] = bytes(buffer[newline : newline + count])
            else:
                count = self._stream.readinto(buffer) or 0
        if self.total - self.mark > MOST_VALUES:
            self._counted = self.mark
            self._fields = fields + bytes(buffer[:count]).count(self._delimiter)
        self.total += count
        return count

    def pass_rest(self, file: io.TextIOWrapper) -> None:
        """Pass over the rest of a line whose record was too long.

        That is its end, behind half a character where the record was cut off in one.
        """
        self.cut = False
        next(file, "")

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
        super().close()


def _text(
    path: Path, packing: str, delimiter: str, newline: str
) -> tuple[io.TextIOWrapper, _BoundedBytes]:
    """Open a file as text; a byte that is not UTF-8 becomes a surrogate, and only its row fails."""
    bounded = _BoundedBytes(open_packed(path, packing), delimiter)
    stream = io.BufferedReader(bounded, _PIECE)
    return io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline), bounded


def _header(path: Path, names: list[str]) -> list[str]:
    counts = collections.Counter(names)
    twice = next((name for name in names if counts[name] > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two columns are called '{twice}'; rename one of them")
    wrong = next((name for name in names if re.search("[\ud800-\udfff]", name)), None)
    if wrong is not None:
        raise InputError(
            f"{path}: the name of a column is {wrong!a}, which is not UTF-8; save the file as "
            "UTF-8 (iconv -f ENCODING -t UTF-8), or rename it"
        )
    return names


def _record(header: Sequence[str], row: list[str], delimiter: str, line: int) -> Read:
    if len(row) != len(header):
        head = delimiter.join(cell[:RAW_BYTES] for cell in row[:RAW_BYTES])
        raw = head.encode("utf-8", "surrogateescape")[:RAW_BYTES]
        wrong = f"{len(row)} fields, and the header has {len(header)}"
        return Read(None, wrong, raw, line, len(head))
    text = delimiter.join(row)
    raw = text[:RAW_BYTES].encode("utf-8", "surrogateescape")[:RAW_BYTES]
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return Read(None, f"invalid UTF-8 (0x{byte:02x})", raw, line, len(text))
    record: dict[str, Any] = dict(zip(header, row, strict=True))
    for name, cell in record.items():
        # A prompt's text may begin with a bracket, too.
        listed = cell.startswith("[{") if name in _LISTS_OR_TEXTS else name in _LISTS
        if listed or name.startswith(_REWARDS):
            if cell.lstrip().startswith("["):
                # What is not a list stays a text.
                with contextlib.suppress(ValueError, RecursionError):
                    record[name] = parse(cell)
        elif name in _NUMBERS:
            # A number or a flag; nothing of an empty cell, and what is neither stays a text.
            if cell in _FLAGS or not cell:
                record[name] = _FLAGS.get(cell)
                continue
            with contextlib.suppress(ValueError, RecursionError):
                number = parse(cell)
                record[name] = number if isinstance(number, int | float) else cell
    return Read(record, None, raw, line, len(text))


def is_flan(head: str) -> bool:
    """Tell whether a TSV file has no header but a question, an answer and a rationale a line."""
    cells = head.split("\n", 1)[0].split("\t")
    return len(cells) == len(_FLAN) and any(len(cell) > _HEADER_CHARS for cell in cells)


def read_flan(path: Path, packing: str = "") -> Iterator[Read]:
    r"""Yield the records of FLAN's files: no header, no quoting, a literal `\n` for a new line."""
    file, bounded = _text(path, packing, "\t", newline="\n")
    with file:
        for number in itertools.count(1):
            try:
                if bounded.cut:
                    bounded.pass_rest(file)
                bounded.mark = bounded.total
                line = next(file)
            except StopIteration:
                return
            except csv.Error as error:
                yield Read(None, str(error), b"", number)
                continue
            if line.strip():
                cells = line.rstrip("\r\n").replace("\\n", "\n").split("\t")
                yield _record(_FLAN, cells, "\t", number)


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
        _header(path, file.schema_arrow.names)
        groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
        size = max(1, sum(int(group.total_byte_size) for group in groups))
        # As many rows of their average size as fit into a part.
        count = max(1, min(PART_ROWS, PART_BYTES * int(file.metadata.num_rows) // size))
        _check_row_groups(path, groups)
        yield from _recut(file.iter_batches(batch_size=count), count)


def _check_row_groups(path: Path, groups: Sequence[Any]) -> None:
    """Check that the rows of a Parquet file's row groups are no larger than a row may be.

    Raises:
        InputError: those of one are, on average.
    """
    for number, group in enumerate(groups, 1):
        if group.total_byte_size > LINE_BYTES * max(1, group.num_rows):
            raise InputError(
                f"{path}: row group {number} holds {group.total_byte_size >> 20:,} MB in "
                f"{group.num_rows:,} rows, and a row may have {LINE_BYTES >> 20} MB; split its "
                "values into several rows"
            )


def _arrow(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a file of Arrow's, as `datasets` writes them: a stream, or a file."""
    import pyarrow as pa

    def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
        # The lengths that a batch states are believed: a damaged file would read other memory.
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                _check_places(column)
            except pa.ArrowInvalid as error:
                raise pa.ArrowInvalid(f"column '{name}': {error}") from None
        return batch

    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        _header(path, reader.schema.names)
        places = range(reader.num_record_batches) if is_file else ()
        batches = map(checked, map(reader.get_batch, places) if is_file else iter(reader))
        first = next(batches, None)
        if first is not None:
            size = max(1, first.nbytes)
            count = max(1, min(PART_ROWS, PART_BYTES * max(1, first.num_rows) // size))
            yield from _recut(_sliced(itertools.chain([first], batches)), count)


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches in pieces of whose rows a part can hold all that they name."""
    for batch in batches:
        row_bytes = sum(map(named_bytes, batch.columns)) if names_values(batch.schema) else 0
        most = max(1, _LARGE_BYTES // row_bytes if row_bytes else batch.num_rows)
        for start in range(0, batch.num_rows, most):
            yield batch.slice(start, most)


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


def _recut(batches: Iterable[pa.RecordBatch], count: int) -> Iterator[pa.Table]:
    """Yield tables of `count` rows, or of 64 MB; batches end with row groups, and parts do not."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        if names_values(batch.schema):
            # It counts as if it held what it names: each row will.
            size += batch.nbytes + batch.num_rows * sum(map(named_bytes, batch.columns))
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
