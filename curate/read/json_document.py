"""JSON files that are one document: an array of records, or objects one after the other.

The file is read through a window, so its size does not matter. A record that strict JSON refuses
fails alone where its end can still be found by counting brackets; otherwise the file breaks off.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from curate.read.packed import BROKEN, open_packed
from curate.read.part import LINE_BYTES, MOST_VALUES, RAW_BYTES, Read
from curate.read.strict_json import describe, most_values, parse, too_long, too_many

_BLOCK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
# The texts, brackets and commas of a value; a text may have no end yet.
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
# A window of usual size, of whose values Python may be given as many as there are.
_USUAL = 4 * _BLOCK
# Finds where a value ends and accepts whatever Python does; `parse` then judges the value.
_LENIENT = json.JSONDecoder(strict=False)


class _BrokenError(Exception):
    """The document cannot be read beyond this point."""


class _Window:
    """A window on the file's text that grows while a value is incomplete."""

    def __init__(self, path: Path, packing: str) -> None:
        self._file = open_packed(path, packing)
        # Bytes that are not UTF-8 become surrogates, so that only their own record fails.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self.text, self.at, self._ended = "", 0, False
        # Whether it holds more values than one record may have.
        self.dense = False
        self._line, self._counted = 1, 0

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def more(self) -> int:
        """Read on; return how many bytes there were."""
        if self._ended:
            return 0
        try:
            block = self._file.read(min(max(_BLOCK, len(self.text) - self.at), LINE_BYTES))
        except BROKEN as error:
            why = " ".join(str(error).split())
            raise _BrokenError(f"the file breaks off here: {why}") from None
        self.line()
        self.text = self.text[self.at :] + self._decode.decode(block, final=not block)
        self.at, self._counted, self._ended = 0, 0, not block
        self.dense = len(self.text) > _USUAL and most_values(self.text) > MOST_VALUES
        return len(block)

    def peek(self) -> str:
        """Skip white space and return the next character, or an empty text at the end."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def line(self) -> int:
        """Return the line number of the next character."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def drop(self) -> None:
        """Hold what was passed no longer."""
        self.line()
        self.text, self.at, self._counted = self.text[self.at :], 0, 0

    def raw(self, end: int | None = None) -> bytes:
        """Return the bytes from here on (to `end`), as many as are kept of an unreadable record."""
        until = self.at + RAW_BYTES if end is None else min(end, self.at + RAW_BYTES)
        return self.text[self.at : until].encode("utf-8", "surrogateescape")[:RAW_BYTES]


def read_document(path: Path, packing: str = "") -> Iterator[Read]:
    """Yield the records of a JSON array, or objects one after the other.

    A record that begins on the line of the one before has no `line`: most often all are on one.
    """
    last = 0
    for read in _records(path, packing):
        yield read._replace(line=None) if read.line == last else read
        last = read.line or last


def _records(path: Path, packing: str) -> Iterator[Read]:
    with _Window(path, packing) as window:
        try:
            if window.peek() == "[":
                window.at += 1
                whole = yield from _elements(window)
                if whole and window.peek():
                    raise _BrokenError("more text behind the end of the JSON array")
            else:
                while window.peek():
                    yield _value(window)
        except _BrokenError as error:
            yield Read(None, str(error), window.raw(), window.line())


def _elements(window: _Window) -> Generator[Read, None, bool]:
    """Yield the elements of an array; return whether it could be read to its end."""
    if window.peek() == "]":
        window.at += 1
        return True
    while True:
        value = _value(window)
        following = window.peek()
        if following not in (",", "]") and value.error is not None:
            # An element whose brackets do not match took others with it: one break, one failure.
            yield value._replace(error=f"{value.error}; the array cannot be read beyond it")
            return False
        yield value
        if following not in (",", "]"):
            found = ascii(following) if following else "the end of the file"
            raise _BrokenError(f"the array breaks off here: found {found} where , or ] must stand")
        window.at += 1
        if following == "]":
            return True


def _value(window: _Window) -> Read:
    """Return the next value, reading on until it is whole."""
    window.peek()
    line, end = window.line(), _end(window)
    raw, text = window.raw(end), window.text[window.at : end]
    window.at = end
    if len(text) > _USUAL:
        window.drop()
    if 4 * len(text) > LINE_BYTES and len(text.encode("utf-8", "surrogateescape")) > LINE_BYTES:
        return Read(None, too_long(), raw, line, size=len(text))
    try:
        record = parse(text)
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        return Read(None, f"invalid UTF-8 (0x{byte:02x})", raw, line, size=len(text))
    except (ValueError, RecursionError) as error:
        return Read(None, describe(error), raw, line, size=len(text))
    if not isinstance(record, dict):
        return Read(record, "an element must be a JSON object", raw, line, size=len(text))
    return Read(record, None, raw, line, size=len(text))


def _end(window: _Window) -> int:
    """Return where the value that begins here ends."""
    held = len(window.text) - window.at
    while True:
        end, problem = _try_end(window.text, window.at, dense=window.dense)
        # A number at the window's edge may go on behind it; an object never does.
        if end is not None and end < len(window.text):
            return end
        if held > LINE_BYTES:
            raise _BrokenError(f"a record is {too_long()}; the file cannot be read beyond it")
        read = window.more()
        held += read
        if not read:
            if end is not None:
                return len(window.text)
            raise _BrokenError(f"the file breaks off here: {problem}")


def _try_end(text: str, at: int, *, dense: bool) -> tuple[int | None, str]:
    problem = "a list or an object has no end"
    # To build a value only to learn where it ends would take any memory.
    if not (dense and text.startswith(("{", "["), at)):
        try:
            return _LENIENT.raw_decode(text, at)[1], ""
        except (ValueError, RecursionError) as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else describe(error)
    if not text.startswith(("{", "["), at):
        return None, problem
    depth = values = 0
    for match in _MARKS.finditer(text, at):
        mark = match.group()
        if mark[0] == '"':
            continue
        depth += (mark in "[{") - (mark in "]}")
        if depth == 0:
            return match.end(), problem
        values += mark not in "]}"
        if values > MOST_VALUES:
            raise _BrokenError(f"{too_many()}; the file cannot be read beyond it")
    return None, problem
