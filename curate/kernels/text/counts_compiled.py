"""One compiled pass over a column of texts: words, letters and white space, counted together.

Kernels read the UTF-8 bytes of Arrow columns, release the GIL and are compiled once per machine.
They know characters through one table of flags for every code point, filled by asking Python's
`str` methods, so that they cannot disagree with the plain definitions. Filling it takes some 30 ms,
paid in large runs only.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.chunk import Chunk
from curate.kernels.text.words import LONE_RANGES
from curate.row import On

SPACE, LETTER, LONE = 1, 2, 4
_LAST = 0x110000
_SURROGATES = slice(0xD800, 0xE000)


class TextCounts(NamedTuple):
    """Per text: characters (code points), words, letters and white space, as int64."""

    characters: np.ndarray
    words: np.ndarray
    letters: np.ndarray
    spaces: np.ndarray


class Bytes(NamedTuple):
    """A column of texts as its UTF-8 bytes and the offsets of each text."""

    data: np.ndarray
    offsets: np.ndarray


def count_texts(chunk: Chunk, on: On) -> TextCounts:
    """Return the counts of a text column, made once per chunk."""

    def count() -> TextCounts:
        texts = text_bytes(chunk.texts(on))
        return TextCounts(*count_kernel(*texts, byte_flags(), character_flags()))

    made: TextCounts = chunk.shared(("counts", on), count)
    return made


def text_bytes(texts: pa.Array) -> Bytes:
    """Return the bytes and offsets behind an Arrow string array without nulls, uncopied."""
    _, offsets, data = texts.buffers()
    # Never writable, as some buffers are: each kernel would be compiled a second time for those.
    view = np.frombuffer(memoryview(data or b"").toreadonly(), np.uint8)
    if not len(texts):
        return Bytes(view, np.zeros(1, np.int32))
    width: Any = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1]
    return Bytes(view, ends)


@functools.cache
def character_flags() -> np.ndarray:
    """Return a byte of flags (`SPACE`, `LETTER`, `LONE`) for every code point."""
    points = np.arange(_LAST, dtype=np.uint32)
    points[_SURROGATES] = 0
    characters = points.view("<U1")
    flags = np.strings.isspace(characters) * np.uint8(SPACE)
    flags |= np.strings.isalpha(characters) * np.uint8(LETTER)
    flags[_SURROGATES] = 0
    for first, last in LONE_RANGES:
        flags[first : last + 1] |= LONE
    return flags


@functools.cache
def byte_flags() -> np.ndarray:
    """Return the flags of every byte of ASCII text; all other bytes have `LONE`, to be noticed."""
    return np.concatenate([character_flags()[:128], np.full(128, LONE, np.uint8)])


@njit(inline="always")
def width_of(lead: Any) -> Any:
    """Return how many bytes the character with this first byte takes."""
    return 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


@njit(inline="always")
def code_point(data: np.ndarray, at: Any) -> Any:
    """Return the code point of the character that begins at `at` (valid UTF-8)."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | (data[at + 1] & 0x3F)
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | ((data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F)
    return (
        ((lead & 0x07) << 18)
        | ((data[at + 1] & 0x3F) << 12)
        | ((data[at + 2] & 0x3F) << 6)
        | (data[at + 3] & 0x3F)
    )


@njit(nogil=True, cache=True)
def count_kernel(
    data: np.ndarray, offsets: np.ndarray, plain: np.ndarray, flags: np.ndarray
) -> np.ndarray:
    """Return characters, words, letters and spaces of each text, as the rows of one array."""
    out = np.zeros((4, len(offsets) - 1), np.int64)
    for row in range(len(offsets) - 1):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        found = _count_ascii(data[start:end], plain)
        if found[0] < 0:
            found = _count_any(data, start, end, flags)
        out[0, row], out[1, row], out[2, row], out[3, row] = found
    return out


@njit(nogil=True, cache=True)
def _count_ascii(text: np.ndarray, plain: np.ndarray) -> Any:
    """Count a text as ASCII; -1 characters say that it was not."""
    words, letters, spaces, outside, seen = 0, 0, 0, 1, 0
    for at in range(len(text)):
        flag = plain[text[at]]
        space = flag & SPACE
        words += outside & (space ^ 1)
        outside = space
        spaces += space
        letters += (flag & LETTER) >> 1
        seen |= flag
    return -1 if seen & LONE else len(text), words, letters, spaces


@njit(nogil=True, cache=True)
def _count_any(data: np.ndarray, start: Any, end: Any, flags: np.ndarray) -> Any:
    characters, words, letters, spaces, outside = 0, 0, 0, 0, 1
    at = start
    while at < end:
        flag = flags[code_point(data, at)]
        at += width_of(data[at])
        space = flag & SPACE
        lone = flag >> 2
        words += lone | (outside & (space ^ 1))
        outside = space | lone
        characters += 1
        spaces += space
        letters += (flag & LETTER) >> 1
    return characters, words, letters, spaces


@njit(nogil=True, cache=True)
def flag_kernel(data: np.ndarray, offsets: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return how many characters of each text have a flag set in a table of all code points."""
    out = np.zeros(len(offsets) - 1, np.int64)
    for row in range(len(offsets) - 1):
        at, end, found = np.int64(offsets[row]), np.int64(offsets[row + 1]), 0
        while at < end:
            found += flags[code_point(data, at)]
            at += width_of(data[at])
        out[row] = found
    return out


@njit(nogil=True, cache=True)
def blank_kernel(data: np.ndarray, offsets: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Tell of each text whether it holds nothing but white space."""
    out = np.ones(len(offsets) - 1, np.bool_)
    for row in range(len(offsets) - 1):
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while at < end and flags[code_point(data, at)] & SPACE:
            at += width_of(data[at])
        out[row] = at >= end
    return out
