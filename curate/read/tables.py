"""CSV, TSV and Parquet: tables whose columns are a record's keys."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import InputError
from curate.read.part import LINE_BYTES, PART_BYTES, PART_ROWS, RAW_BYTES, Read
from curate.read.strict_json import parse

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


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
_FLAN = ("question", "answer", "rationale")


def read_csv(path: Path, delimiter: str) -> Iterator[Read]:
    """Yield the records of a file with a header; a row of another width is an error of its own."""
    # An unclosed quote would otherwise read the rest of the file into one field.
    csv.field_size_limit(LINE_BYTES)
    # Bytes that are no UTF-8 become surrogates here, so that only their own row fails.
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = _header(path, next(reader, []))
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


def _header(path: Path, names: list[str]) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two columns are called '{twice}'; rename one of them")
    return names


def _record(header: Sequence[str], row: list[str], delimiter: str, line: int) -> Read:
    text = delimiter.join(row)
    raw = text.encode("utf-8", "surrogateescape")[:RAW_BYTES]
    if len(row) != len(header):
        wrong = f"{len(row)} fields, and the header has {len(header)}"
        return Read(None, wrong, raw, line, len(text))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return Read(None, f"invalid UTF-8 (0x{byte:02x})", raw, line, len(text))
    record: dict[str, Any] = dict(zip(header, row, strict=True))
    for names, typed in ((_LISTS, _list), (_LISTS_OR_TEXTS, _list_or_text), (_NUMBERS, _number)):
        for name in names:
            if name in record:
                record[name] = typed(record[name])
    for name in record:
        if name.startswith(_REWARDS):
            record[name] = _list(record[name])
    return Read(record, None, raw, line, len(text))


def _list(value: str) -> Any:
    """Return the list that a cell holds, or its text."""
    if value.lstrip().startswith("["):
        try:
            return parse(value)
        except (ValueError, RecursionError):
            return value
    return value


def _list_or_text(value: str) -> Any:
    """Return the list of objects that a cell holds, or its text: a prompt may begin with `[`."""
    return _list(value) if value.startswith("[{") else value


def _number(value: str) -> Any:
    """Return the number or flag that a cell holds, nothing of an empty one, else its text."""
    if value in _FLAGS or not value:
        return _FLAGS.get(value)
    try:
        number = parse(value)
    except (ValueError, RecursionError):
        return value
    return number if isinstance(number, int | float) else value


def is_flan(head: str) -> bool:
    """Tell whether a TSV file has no header but a question, an answer and a rationale a line."""
    cells = head.split("\n", 1)[0].split("\t")
    return len(cells) == len(_FLAN) and any(len(cell) > _HEADER_CHARS for cell in cells)


def read_flan(path: Path) -> Iterator[Read]:
    r"""Yield the records of FLAN's files: no header, no quoting, a literal `\n` for a new line."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                cells = line.rstrip("\r\n").replace("\\n", "\n").split("\t")
                yield _record(_FLAN, cells, "\t", number)


def read_parquet(path: Path) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file, 16,384 at a time, or fewer where rows are large."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _header(path, file.schema_arrow.names)
            yield from _recut(file, _rows_a_part(file.metadata))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from error


def _rows_a_part(metadata: Any) -> int:
    """Return how many rows of their average size fit into a part."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    size = max(1, sum(int(group.total_byte_size) for group in groups))
    return max(1, min(PART_ROWS, PART_BYTES * int(metadata.num_rows) // size))


def _recut(file: pq.ParquetFile, count: int) -> Iterator[pa.Table]:
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = 0
    for batch in file.iter_batches(batch_size=count):
        waiting.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        # Batches end with row groups; parts do not.
        if rows >= count:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, count)
            waiting, rows = [whole.slice(count)], rows - count
    if rows:
        yield pa.concat_tables(waiting)
