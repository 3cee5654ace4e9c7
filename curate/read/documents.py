"""JSON files that are one document: an array of records, or a single one, read piece by piece."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from curate.read.part import LINE_BYTES, RAW_BYTES, Read
from curate.read.strict import _DECODER, check_text, describe, too_long

_BLOCK = 1 << 20
_SPACE = " \t\r\n"


class _Text:
    """A window on the file's text that grows while a value is incomplete."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def more(self) -> bool:
        """Read on; tell whether there was anything."""
        if self.ended:
            return False
        block = self._file.read(max(_BLOCK, len(self.text) - self.at))
        self.line += self.text.count("\n", 0, self.at)
        self.text = self.text[self.at :] + self._decode.decode(block, final=not block)
        self.at, self.ended = 0, not block
        return bool(block)

    def peek(self) -> str:
        """Skip white space and return the next character, or an empty text at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def here(self) -> int:
        """Return the line number of the next character."""
        return self.line + self.text.count("\n", 0, self.at)

    def rest(self) -> bytes:
        return self.text[self.at : self.at + RAW_BYTES].encode("utf-8", "replace")

    def close(self) -> None:
        self._file.close()


def read_document(path: Path) -> Iterator[Read]:
    """Yield the records of a JSON array (or the only one); a break ends the file with an error."""
    text = _Text(path)
    try:
        try:
            opening = text.peek()
            if opening == "[":
                text.at += 1
                yield from _elements(text)
            else:
                yield _value(text)
            if text.peek():
                line, raw = text.here(), text.rest()
                yield Read(None, "more text behind the end of the JSON document", raw, line)
        except UnicodeDecodeError as error:
            where = f"invalid UTF-8: {error.reason} (0x{error.object[error.start]:02x})"
            yield Read(None, f"{where}; the file cannot be read beyond", text.rest(), text.here())
        except _BrokenError as error:
            yield Read(None, str(error), text.rest(), text.here())
    finally:
        text.close()


class _BrokenError(Exception):
    """The document cannot be read beyond this point."""


def _elements(text: _Text) -> Iterator[Read]:
    if text.peek() == "]":
        text.at += 1
        return
    while True:
        yield _value(text)
        following = text.peek()
        if following not in (",", "]"):
            found = f"'{following}'" if following else "the end of the file"
            raise _BrokenError(f"the array breaks off here: found {found} where , or ] must stand")
        text.at += 1
        if following == "]":
            return


def _value(text: _Text) -> Read:
    """Return the next value, reading on until it is whole."""
    text.peek()
    line = text.here()
    while True:
        try:
            value, end = _DECODER.raw_decode(text.text, text.at)
            # A number at the window's edge may go on behind it; an object never does.
            if end < len(text.text) or not text.more():
                break
        except json.JSONDecodeError as error:
            if len(text.text) - text.at > LINE_BYTES:
                raise _BrokenError(f"a record is {too_long()}") from None
            if not text.more():
                raise _BrokenError(f"the file breaks off here: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise _BrokenError(f"{describe(error)}; the file cannot be read beyond") from None
    raw = text.text[text.at : min(end, text.at + RAW_BYTES)].encode("utf-8", "replace")
    text.at = end
    if not isinstance(value, dict):
        return Read(None, "an element must be a JSON object", raw, line)
    try:
        check_text(value)
    except ValueError as error:
        return Read(None, str(error), raw, line)
    return Read(value, None, raw, line)
