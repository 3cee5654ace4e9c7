"""CSV, TSV and XML dumps: tables of text whose columns are a record's keys."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from xml.parsers import expat

from curate.errors import InputError
from curate.read.packed import BROKEN, open_packed
from curate.read.part import LINE_BYTES, MOST_VALUES, RAW_BYTES, Read
from curate.read.strict_json import parse, too_long

if TYPE_CHECKING:
    pass


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
            header = check_names(path, next(reader, []))
            check_delimiter(path, header, delimiter)
        except (csv.Error, *BROKEN) as error:
            if isinstance(error, csv.Error):
                # Quoted names before another delimiter break the header.
                with open_packed(path, packing) as again:
                    first = again.readline(4096).decode("utf-8", "replace")
                if delimiter not in first:
                    check_delimiter(path, [first], delimiter)
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


def check_delimiter(path: Path, header: list[str], delimiter: str) -> None:
    """Raise `InputError` where the one column of a header is several, between other delimiters."""
    if len(header) != 1:
        return
    found = next((mark for mark in ";\t|," if mark != delimiter and mark in header[0]), None)
    if found is None:
        return
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
    advice = "write it with commas (in pandas, read_csv(IN, sep=SEP).to_csv(OUT, index=False))"
    if ending := {",": ".csv", "\t": ".tsv"}.get(found):
        advice = f"give it the ending {ending}"
    raise InputError(
        f"{path}: the names of its columns seem to be separated by {names[found]}, and this ending "
        f"means {names[delimiter]}; {advice}"
    )


def check_names(path: Path, names: list[str]) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        InputError: two are the same, or one is not UTF-8.
    """
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
