"""The shingles of a whole column of texts, in one compiled pass that releases the GIL.

The kernel lower-cases ASCII itself. Other rows are composed and lower-cased by Python before it
sees them (both may change a text's length), and their word characters come from a table made by the
running Python's `re`, so that it cannot disagree with `kernels.sets.shingles`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.sets.shingles import (
    FINAL_1,
    FINAL_2,
    SEED,
    SHINGLE_FACTOR,
    WORD_FACTOR,
    salted,
)
from curate.kernels.text.counts_compiled import code_point, text_bytes, width_of
from curate.kernels.text.normalize import lowered_column
from curate.kernels.text.words import ALONE, RUN, Tokens, comparable

_POINTS = 0x110000
# Numba mixes signed and unsigned integers into floats, so every constant is a uint64.
_SEED, _WORD, _SHINGLE = np.uint64(SEED), np.uint64(WORD_FACTOR), np.uint64(SHINGLE_FACTOR)
_FINAL_1, _FINAL_2 = np.uint64(FINAL_1), np.uint64(FINAL_2)
_EIGHT, _32, _33, _64, _NONE = (np.uint64(value) for value in (8, 32, 33, 64, 0))
_SHORT, _LONG = 20, 4096
# What a character is: part of a word, or a word of its own.
_PART, _WHOLE = np.uint8(1), np.uint8(2)


def shingle_column(
    texts: pa.StringArray, shingle: int, attached: Mapping[int, str] | None = None
) -> pa.ListArray:
    """Return `shingle_set` of every text of a column without nulls, `attached` by place.

    The lists are of uint64.
    """
    texts = lowered_column(texts, comparable)
    data, offsets = text_bytes(texts)
    hashes, ends = _shingle_kernel(data, offsets, shingle, word_characters())
    if attached:
        own = np.split(hashes, ends[1:-1])
        for place, text in attached.items():
            own[place] = salted(own[place], text)
        hashes = np.concatenate(own)
        ends = np.cumsum([0, *map(len, own)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(hashes))


def word_column(texts: pa.StringArray, tokens: Tokens) -> pa.ListArray:
    """Return the hashes of the words of every text, in order, equal to `token_hashes`."""
    rouge = tokens == "rouge_score"
    data, offsets = text_bytes(lowered_column(texts, str.lower if rouge else comparable))
    table = rouge_characters() if rouge else word_characters()
    hashes, ends = _word_kernel(data, offsets, table)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(hashes))


@functools.cache
def rouge_characters() -> np.ndarray:
    """Return the table of `word_characters` for words of a-z and 0-9."""
    table = np.zeros(_POINTS, np.uint8)
    for first, last in ("09", "az"):
        table[ord(first) : ord(last) + 1] = _PART
    return table


@functools.cache
def word_characters() -> np.ndarray:
    """Return what every code point is: 1 part of a word, 2 a word of its own, else 0."""
    table = np.zeros(_POINTS, np.uint8)
    every = "".join(map(chr, range(_POINTS)))
    for run in RUN.finditer(every):
        table[run.start() : run.end()] = _PART
    for character in ALONE.finditer(every):
        table[character.start()] = _WHOLE
    return table


@njit(inline="always")
def _absorb(state: Any, value: Any, factor: Any) -> Any:
    state = (state ^ value) * factor
    return state ^ (state >> _32)


@njit(inline="always")
def _avalanche(state: Any) -> Any:
    state = (state ^ (state >> _33)) * _FINAL_1
    state = (state ^ (state >> _33)) * _FINAL_2
    return state ^ (state >> _33)


@njit(nogil=True, cache=True)
def _shingle_kernel(
    data: np.ndarray, offsets: np.ndarray, shingle: int, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all rows, one after the other, and where each row's begin."""
    rows = len(offsets) - 1
    longest, total = 0, 0
    for row in range(rows):
        size = (offsets[row + 1] - offsets[row]) // 2 + 1  # a word takes a byte and its neighbour
        longest, total = max(longest, size), total + size
    out, ends = np.empty(total, np.uint64), np.zeros(rows + 1, np.int32)
    words, spare = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    end = 0
    for row in range(rows):
        count = _hash_words(data, np.int64(offsets[row]), offsets[row + 1], table, words)
        if count:
            size = _hash_shingles(words, count, shingle, out[end:])
            end += _sort_unique(out[end : end + size], spare)
        ends[row + 1] = end
    return out[:end].copy(), ends


@njit(nogil=True, cache=True)
def _word_kernel(
    data: np.ndarray, offsets: np.ndarray, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of the words of all rows, and where each row's begin."""
    rows, room = len(offsets) - 1, 0
    for row in range(rows):
        room += (offsets[row + 1] - offsets[row]) // 2 + 1
    out, ends, end = np.empty(room, np.uint64), np.zeros(rows + 1, np.int32), 0
    for row in range(rows):
        end += _hash_words(data, np.int64(offsets[row]), offsets[row + 1], table, out[end:])
        ends[row + 1] = end
    return out[:end].copy(), ends


@njit(inline="always")
def _character(data: np.ndarray, at: Any, width: Any) -> Any:
    """Return the bytes of a character, which are one round of a hash."""
    block = _NONE
    for k in range(width):
        block |= np.uint64(data[at + k]) << (_EIGHT * np.uint64(k))
    return block


@njit(nogil=True, cache=True)
# One pass over the bytes, inlined: a call for each character costs a fifth of the speed.
def _hash_words(data: np.ndarray, at: Any, end: Any, table: np.ndarray, out: np.ndarray) -> int:
    """Write the hash of every word between two places to `out`; return how many there are."""
    count, inside = 0, False
    state, block, shift = _SEED, _NONE, _NONE
    while at < end:
        byte = np.uint64(data[at])
        width = 1
        if byte < 128:
            if np.uint64(65) <= byte <= np.uint64(90):
                byte |= _32
            part = table[np.int64(byte)]
        else:
            part, width = table[code_point(data, at)], width_of(data[at])
        if part == _PART:
            inside = True
            for k in range(width):
                byte = byte if k == 0 else np.uint64(data[at + k])
                block |= byte << shift
                shift += _EIGHT
                if shift == _64:
                    state, block, shift = _absorb(state, block, _WORD), _NONE, _NONE
        else:
            if inside:
                out[count] = _absorb(state, block, _WORD) if shift else state
                count, inside = count + 1, False
                state, block, shift = _SEED, _NONE, _NONE
            if part:
                out[count] = _absorb(_SEED, _character(data, at, width), _WORD)
                count += 1
        at += width
    if inside:
        out[count] = _absorb(state, block, _WORD) if shift else state
        count += 1
    return count


@njit(nogil=True, cache=True)
def _hash_shingles(words: np.ndarray, count: int, shingle: int, out: np.ndarray) -> int:
    width = min(shingle, count)
    for first in range(count - width + 1):
        state = _SEED
        for k in range(width):
            state = _absorb(state, words[first + k], _SHINGLE)
        out[first] = _avalanche(state)
    return count - width + 1


@njit(nogil=True, cache=True)
def _sort_unique(values: np.ndarray, spare: np.ndarray) -> int:
    """Sort hashes, drop repeats, and return how many are left.

    Hashes spread evenly, so one pass by their first byte leaves short runs for insertion.
    """
    size = len(values)
    if size > _LONG:
        values[:] = np.sort(values)
    elif size > _SHORT:
        _spread(values, spare)
    if size <= _LONG:
        _insertion_sort(values)
    left = 1
    for k in range(1, size):
        if values[k] != values[left - 1]:
            values[left] = values[k]
            left += 1
    return left


@njit(nogil=True, cache=True)
def _spread(values: np.ndarray, spare: np.ndarray) -> None:
    """Order values by their first byte."""
    starts, top = np.zeros(257, np.int32), np.uint64(56)
    for value in values:
        starts[np.int64(value >> top) + 1] += 1
    for k in range(256):
        starts[k + 1] += starts[k]
    for value in values:
        bucket = np.int64(value >> top)
        spare[starts[bucket]] = value
        starts[bucket] += 1
    values[:] = spare[: len(values)]


@njit(nogil=True, cache=True)
def _insertion_sort(values: np.ndarray) -> None:
    for k in range(1, len(values)):
        value, at = values[k], k - 1
        while at >= 0 and values[at] > value:
            values[at + 1] = values[at]
            at -= 1
        values[at + 1] = value
