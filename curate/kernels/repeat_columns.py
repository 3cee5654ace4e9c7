"""Measure repetition in a column of texts, in one compiled pass per text.

Every word gets the place of the first word equal to it, by a table of hashes with bytes compared.
From there on only small numbers are compared: an (n+1)-gram is the pair of its leading n-gram and
its last word, and it can occur twice only where both n-grams inside it do, so each length looks at
what the shorter one left. Ordinary text leaves almost nothing beyond three words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.chunk import Chunk
from curate.kernels.repeats import LIMITS
from curate.kernels.text import (
    LONE,
    SPACE,
    character_flags,
    code_point,
    count_texts,
    text_bytes,
    width_of,
)
from curate.row import On

_LIMITS = np.array(list(LIMITS.values()))
# Rows of the table of whole numbers that describe each word.
_BEGIN, _END, _CHARACTERS, _BREAK, _FIRST, _GRAM, _NEXT, _MARK, _COUNT, _LEFT = range(10)
_NEW_LINE, _NEW_PARAGRAPH = 1, 2


def repetition_scores(chunk: Chunk, on: On, min_words: int) -> np.ndarray:
    """Return `score_of(repeated_shares(text, min_words))` for every text of a column."""

    def make() -> np.ndarray:
        most = int(count_texts(chunk, on).words.max(initial=0))
        texts, flags = text_bytes(chunk.texts(on)), character_flags()
        found: np.ndarray = repeats_kernel(*texts, flags, most, min_words, _LIMITS)
        return found

    scores: np.ndarray = chunk.shared(("repeats", on, min_words), make)
    return scores


@njit(nogil=True, cache=True)
def repeats_kernel(
    data: np.ndarray,
    offsets: np.ndarray,
    flags: np.ndarray,
    most: int,
    min_words: int,
    limits: np.ndarray,
) -> np.ndarray:
    """Return the score of each text; `most` is the largest number of words in one."""
    out = np.zeros(len(offsets) - 1, np.float64)
    keys = np.empty(most + 1, np.uint64)
    word = np.empty((10, most + 2), np.int32)
    table = np.empty(_table_size(most), np.int32)
    amounts = np.zeros(len(limits), np.int64)
    for row in range(len(offsets) - 1):
        count = _read_words(data, offsets[row], offsets[row + 1], flags, keys, word)
        if count < 2:
            continue
        amounts[:] = 0
        left = _match_words(data, keys, word, table, count)
        lines, paragraphs = 1, 1
        if left and count >= min_words:
            lines = _match_blocks(word, table, count, _NEW_LINE, amounts[0::2])
            paragraphs = _match_blocks(word, table, count, _NEW_PARAGRAPH, amounts[1::2])
        if left:
            _match_grams(word, table, count, left, count >= min_words, amounts)
        every = word[_CHARACTERS, count]
        for measure in range(len(limits)):
            whole = lines if measure == 0 else paragraphs if measure == 1 else every
            share = min(amounts[measure], whole) / whole
            out[row] = max(out[row], np.ceil(share / limits[measure] * 1000) / 1000)
    return out


@njit(nogil=True, cache=True)
def _table_size(entries: Any) -> Any:
    size = 4
    while size < 2 * entries:
        size *= 2
    return size


@njit(inline="always")
def _slot(key: Any, mask: Any) -> Any:
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(32)) & mask


@njit(nogil=True, cache=True)
def _read_words(
    data: np.ndarray, start: Any, end: Any, flags: np.ndarray, keys: np.ndarray, word: np.ndarray
) -> Any:
    """Find the words: where they lie, a key of their bytes, characters so far, line breaks."""
    count, lines, characters, inside = 0, 2, 0, False
    at, key = np.int64(start), np.uint64(0)
    word[_CHARACTERS, 0] = 0
    while at < end:
        byte = data[at]
        width = 1
        flag = flags[byte]
        if byte >= 0x80:
            width, flag = width_of(byte), flags[code_point(data, at)]
        if inside and flag & (SPACE | LONE):
            word[_END, count], keys[count], inside = at, key, False
            count += 1
            word[_CHARACTERS, count] = characters
        if flag & SPACE:
            lines += byte == 10
        else:
            if not inside:
                word[_BEGIN, count], word[_BREAK, count] = at, min(lines, 2)
                key, lines, inside = np.uint64(0), 0, True
            # Eight bytes fit the key; longer words are told apart by their bytes.
            key = (key << np.uint64(8)) ^ (key >> np.uint64(56)) ^ np.uint64(byte)
            for place in range(at + 1, at + width):
                key = (key << np.uint64(8)) ^ (key >> np.uint64(56)) ^ np.uint64(data[place])
            characters += 1
            if flag & LONE:
                word[_END, count], keys[count], inside = at + width, key, False
                count += 1
                word[_CHARACTERS, count] = characters
        at += width
    if inside:
        word[_END, count], keys[count] = end, key
        count += 1
        word[_CHARACTERS, count] = characters
    return count


@njit(nogil=True, cache=True)
def _match_words(
    data: np.ndarray, keys: np.ndarray, word: np.ndarray, table: np.ndarray, count: Any
) -> Any:
    """Give every word the place of the first equal one; return how many occur more than once."""
    size = _table_size(count)
    table[:size] = -1
    mask = size - 1
    for at in range(count):
        slot = _slot(keys[at], mask)
        word[_MARK, at] = 0
        while True:
            other = table[slot]
            if other < 0:
                table[slot], word[_FIRST, at] = at, at
                break
            if keys[other] == keys[at] and _same_word(data, word, other, at):
                word[_FIRST, at], word[_MARK, at], word[_MARK, other] = other, 1, 1
                break
            slot = (slot + 1) & mask
    left = 0
    for at in range(count):
        word[_GRAM, at] = word[_FIRST, at]
        if word[_MARK, at]:
            word[_LEFT, left] = at
            left += 1
    word[_MARK, count] = 0
    return left


@njit(inline="always")
def _same_word(data: np.ndarray, word: np.ndarray, one: Any, other: Any) -> Any:
    """Compare the bytes of two words whose keys are equal."""
    length = word[_END, one] - word[_BEGIN, one]
    if length != word[_END, other] - word[_BEGIN, other]:
        return False
    if length > 8:
        for byte in range(length):
            if data[word[_BEGIN, one] + byte] != data[word[_BEGIN, other] + byte]:
                return False
    return True


@njit(nogil=True, cache=True)
def _match_blocks(
    word: np.ndarray, table: np.ndarray, count: Any, breaks: Any, amounts: np.ndarray
) -> Any:
    """Add up blocks that an earlier one equals, and their characters; return all blocks."""
    size = _table_size(count)
    table[:size] = -1
    mask, blocks, begin = size - 1, 0, 0
    while begin < count:
        end, key = begin, np.uint64(14695981039346656037)
        while end < count and (end == begin or word[_BREAK, end] < breaks):
            key = (key ^ np.uint64(word[_FIRST, end])) * np.uint64(1099511628211)
            end += 1
        # The blocks' ends wait in a row of the table that grams use later.
        word[_NEXT, begin] = end
        slot, again = _slot(key, mask), False
        while table[slot] >= 0 and not again:
            again = _same_block(word, table[slot], begin, end)
            slot = slot if again else (slot + 1) & mask
        if again:
            amounts[0] += 1
            amounts[1] += word[_CHARACTERS, end] - word[_CHARACTERS, begin]
        else:
            table[slot] = begin
        blocks, begin = blocks + 1, end
    return blocks


@njit(inline="always")
def _same_block(word: np.ndarray, one: Any, begin: Any, end: Any) -> Any:
    if word[_NEXT, one] - one != end - begin:
        return False
    for place in range(end - begin):
        if word[_FIRST, one + place] != word[_FIRST, begin + place]:
            return False
    return True


@njit(nogil=True, cache=True)
def _match_grams(
    word: np.ndarray,
    table: np.ndarray,
    count: Any,
    left: Any,
    tops: Any,
    amounts: np.ndarray,
) -> None:
    """Fill the amounts of n-grams, n from 2 to 10, from those left by the shorter ones."""
    for n in range(2, 11):
        left = _match_longer(word, table, count, left, n)
        if not left:
            return
        most, covered, reached = 0, 0, 0
        for entry in range(left):
            at = word[_LEFT, entry]
            characters = word[_CHARACTERS, at + n] - word[_CHARACTERS, at]
            first = word[_GRAM, at]
            most = max(most, word[_COUNT, first] * characters)
            if first != at:
                start = max(at, reached)
                covered += word[_CHARACTERS, at + n] - word[_CHARACTERS, start]
                reached = at + n
        if n >= 5:
            amounts[n + 2] = covered
        elif tops:
            amounts[n + 2] = most


@njit(nogil=True, cache=True)
def _match_longer(word: np.ndarray, table: np.ndarray, count: Any, left: Any, n: Any) -> Any:
    """Give every n-gram that may repeat the place of its first; return how many do repeat."""
    size = _table_size(left)
    table[:size] = -1
    mask, tried = size - 1, 0
    for entry in range(left):
        at = word[_LEFT, entry]
        if at + n > count or word[_MARK, at + 1] < n - 1:
            continue
        gram, last = word[_GRAM, at], word[_FIRST, at + n - 1]
        slot = _slot((np.uint64(gram) << np.uint64(32)) | np.uint64(last), mask)
        while True:
            other = table[slot]
            if other < 0:
                table[slot], word[_NEXT, at], word[_COUNT, at] = at, at, 1
                break
            if word[_GRAM, other] == gram and word[_FIRST, other + n - 1] == last:
                word[_NEXT, at] = other
                word[_COUNT, other] += 1
                break
            slot = (slot + 1) & mask
        word[_LEFT, tried] = at
        tried += 1
    kept = 0
    for entry in range(tried):
        at = word[_LEFT, entry]
        word[_GRAM, at] = word[_NEXT, at]
        if word[_COUNT, word[_NEXT, at]] > 1:
            word[_MARK, at], word[_LEFT, kept] = n, at
            kept += 1
    return kept
