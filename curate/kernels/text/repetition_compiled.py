"""Measure repetition in a column of texts, in one compiled pass per text.

Every pair of words gets the place of the first pair equal to it, by a table of hashes with the
words compared. From there on only small numbers are compared: an n-gram is the pair of the two
shorter ones inside it, and it can occur twice only where both of them do, so each length looks at
what the shorter one left. Ordinary text leaves almost nothing beyond three words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.chunk import Chunk
from curate.kernels.text.counts_compiled import (
    LONE,
    SPACE,
    byte_flags,
    character_flags,
    code_point,
    count_texts,
    text_bytes,
    width_of,
)
from curate.kernels.text.repetition import LIMITS
from curate.row import On

_LIMITS = np.array(list(LIMITS.values()))
# Rows of the table of whole numbers that describe each word.
_END, _BYTES, _CHARACTERS, _BREAK, _GRAM, _NEXT, _MARK, _COUNT, _LEFT = range(9)
_NEW_LINE, _NEW_PARAGRAPH = 1, 2
_KEY_BYTES = 8


def repetition_of(chunk: Chunk, on: On, min_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Return score and `repeated_shares` (a row of numbers) of every text of a column."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        most = int(count_texts(chunk, on).words.max(initial=0))
        tables = byte_flags(), character_flags()
        texts = text_bytes(chunk.texts(on))
        found: tuple[np.ndarray, np.ndarray] = repeats_kernel(
            *texts, *tables, most, min_words, _LIMITS
        )
        return found

    made: tuple[np.ndarray, np.ndarray] = chunk.shared(("repeats", on, min_words), make)
    return made


@njit(nogil=True, cache=True)
def repeats_kernel(
    data: np.ndarray,
    offsets: np.ndarray,
    plain: np.ndarray,
    flags: np.ndarray,
    most: int,
    min_words: int,
    limits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each text and its shares; `most` is the largest number of words."""
    out = np.zeros(len(offsets) - 1, np.float64)
    shares = np.zeros((len(offsets) - 1, len(limits)), np.float64)
    keys, word = np.empty(most + 2, np.uint64), np.empty((9, most + 2), np.int32)
    table, amounts = np.empty(_table_size(most), np.int32), np.zeros(len(limits), np.int64)
    for row in range(len(offsets) - 1):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        count = _read_ascii(data[start:end], start, plain, keys, word)
        if count < 0:
            count = _read_words(data, start, end, flags, keys, word)
        lines, paragraphs, long = 1, 1, count >= min_words
        if count < 2:
            continue
        amounts[:] = 0
        if long and _find_breaks(data, start, word, count):
            lines = _match_blocks(data, keys, word, table, count, _NEW_LINE, amounts[0::2])
            paragraphs = _match_blocks(
                data, keys, word, table, count, _NEW_PARAGRAPH, amounts[1::2]
            )
        left = _match_pairs(data, keys, word, table, count)
        n = 2
        while left:
            _add_grams(word, left, n, long, amounts)
            n += 1
            left = _match_longer(word, table, left, n) if n <= 10 else 0
        every = word[_CHARACTERS, count]
        for measure in range(len(limits)):
            if amounts[measure]:
                whole = lines if measure == 0 else paragraphs if measure == 1 else every
                share = min(amounts[measure], whole) / whole
                shares[row, measure] = share
                out[row] = max(out[row], np.ceil(share / limits[measure] * 1000) / 1000)
    return out, shares


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


@njit(inline="always")
def _grown(key: Any, byte: Any) -> Any:
    """Add a byte to a key: eight fit unmixed, longer words are told apart by comparing bytes."""
    return (key << np.uint64(8)) ^ (key >> np.uint64(56)) ^ np.uint64(byte)


@njit(nogil=True, cache=True)
def _read_ascii(
    text: np.ndarray, start: Any, plain: np.ndarray, keys: np.ndarray, word: np.ndarray
) -> Any:
    """Find the words of an ASCII text, like `_read_words`, with no branch to mispredict.

    -1 says that it was not ASCII; its other bytes then only made fewer words.
    """
    count, length, key, seen = np.int64(0), np.int64(0), np.uint64(0), np.uint8(0)
    for at in range(len(text)):
        flag = plain[text[at]]
        seen |= flag
        space = np.int64(flag & SPACE)
        count += space & np.int64(length > 0)
        length = (length + 1) & (space - 1)
        key = _grown(key, text[at]) & np.uint64(space - 1)
        # A space writes where the next word will; a word's last byte leaves what stays.
        keys[count], word[_END, count], word[_BYTES, count] = key, start + at + 1, length
    if seen & LONE:
        return -1
    count += np.int64(length > 0)
    characters = 0
    for place in range(count):
        word[_CHARACTERS, place] = characters
        characters += word[_BYTES, place]
    word[_CHARACTERS, count] = characters
    return count


@njit(nogil=True, cache=True)
def _read_words(
    data: np.ndarray, start: Any, end: Any, flags: np.ndarray, keys: np.ndarray, word: np.ndarray
) -> Any:
    """Find the words: where they end, their bytes, a key of those, the characters before them."""
    count, characters, length = 0, 0, 0
    at, key = start, np.uint64(0)
    word[_CHARACTERS, 0] = 0
    while at < end:
        width, flag = width_of(data[at]), flags[code_point(data, at)]
        if length and flag & (SPACE | LONE):
            count, length, key = count + 1, 0, np.uint64(0)
            word[_CHARACTERS, count] = characters
        if not flag & SPACE:
            for place in range(at, at + width):
                key = _grown(key, data[place])
            length += width
            characters += 1
            keys[count], word[_END, count], word[_BYTES, count] = key, at + width, length
            if flag & LONE:
                count, length, key = count + 1, 0, np.uint64(0)
                word[_CHARACTERS, count] = characters
        at += width
    if length:
        count += 1
        word[_CHARACTERS, count] = characters
    return count


@njit(inline="always")
def _same_word(data: np.ndarray, keys: np.ndarray, word: np.ndarray, one: Any, two: Any) -> Any:
    """Compare the bytes of two words."""
    length = word[_BYTES, one]
    if keys[one] != keys[two] or length != word[_BYTES, two]:
        return False
    if length > _KEY_BYTES:
        for back in range(1, length + 1):
            if data[word[_END, one] - back] != data[word[_END, two] - back]:
                return False
    return True


@njit(nogil=True, cache=True)
def _find_breaks(data: np.ndarray, start: Any, word: np.ndarray, count: Any) -> Any:
    """Note the line breaks before each word (2 stands for more); return whether there are any."""
    any_break, at = False, start
    for place in range(count):
        lines, begin = 0, word[_END, place] - word[_BYTES, place]
        while at < begin:
            lines += data[at] == 10
            at += 1
        word[_BREAK, place] = min(lines, 2)
        any_break |= place > 0 and lines > 0
        at = np.int64(word[_END, place])
    return any_break


@njit(nogil=True, cache=True)
def _match_blocks(
    data: np.ndarray,
    keys: np.ndarray,
    word: np.ndarray,
    table: np.ndarray,
    count: Any,
    breaks: Any,
    amounts: np.ndarray,
) -> Any:
    """Add up blocks that an earlier one equals, and their characters; return all blocks."""
    size = _table_size(count)
    table[:size] = -1
    mask, blocks, begin = size - 1, 0, 0
    while begin < count:
        end, key = begin, np.uint64(14695981039346656037)
        while end < count and (end == begin or word[_BREAK, end] < breaks):
            key = (key ^ keys[end]) * np.uint64(1099511628211)
            end += 1
        # The blocks' ends wait in a row of the table that grams use later.
        word[_NEXT, begin] = end
        slot, again = _slot(key, mask), False
        while table[slot] >= 0 and not again:
            again = _same_block(data, keys, word, table[slot], begin)
            slot = slot if again else (slot + 1) & mask
        if again:
            amounts[0] += 1
            amounts[1] += word[_CHARACTERS, end] - word[_CHARACTERS, begin]
        else:
            table[slot] = begin
        blocks, begin = blocks + 1, end
    return blocks


@njit(inline="always")
def _same_block(data: np.ndarray, keys: np.ndarray, word: np.ndarray, one: Any, two: Any) -> Any:
    length = word[_NEXT, two] - two
    if word[_NEXT, one] - one != length:
        return False
    same, place = True, 0
    while same and place < length:
        same = _same_word(data, keys, word, one + place, two + place)
        place += 1
    return same


@njit(nogil=True, cache=True)
def _match_pairs(
    data: np.ndarray, keys: np.ndarray, word: np.ndarray, table: np.ndarray, count: Any
) -> Any:
    """Give every pair of words the place of the first equal one; return how many repeat."""
    size = _table_size(count)
    table[:size] = -1
    mask, repeats = size - 1, False
    for at in range(count - 1):
        slot = _slot((keys[at] * np.uint64(31)) ^ keys[at + 1], mask)
        word[_MARK, at] = 0
        while True:
            other = table[slot]
            if other < 0:
                table[slot], word[_GRAM, at], word[_COUNT, at] = at, at, 1
                break
            if _same_word(data, keys, word, other, at) and _same_word(
                data, keys, word, other + 1, at + 1
            ):
                word[_GRAM, at], word[_MARK, at], word[_MARK, other] = other, 2, 2
                word[_COUNT, other] += 1
                repeats = True
                break
            slot = (slot + 1) & mask
    word[_MARK, count - 1] = 0
    left = 0
    if repeats:
        for at in range(count - 1):
            if word[_MARK, at]:
                word[_LEFT, left] = at
                left += 1
    return left


@njit(nogil=True, cache=True)
def _add_grams(word: np.ndarray, left: Any, n: Any, long: Any, amounts: np.ndarray) -> None:
    """Fill the amount of repeated n-grams: of the top one up to 4 words, of all from 5 on."""
    most, covered, reached = 0, 0, 0
    for entry in range(left):
        at = word[_LEFT, entry]
        first, end = word[_GRAM, at], word[_CHARACTERS, at + n]
        most = max(most, word[_COUNT, first] * (end - word[_CHARACTERS, at]))
        if first != at:
            covered += end - word[_CHARACTERS, max(at, reached)]
            reached = at + n
    if n >= 5:
        amounts[n + 2] = covered
    elif long:
        amounts[n + 2] = most


@njit(nogil=True, cache=True)
def _match_longer(word: np.ndarray, table: np.ndarray, left: Any, n: Any) -> Any:
    """Give every n-gram that may repeat the place of its first; return how many do repeat."""
    size = _table_size(left)
    table[:size] = -1
    mask, tried = size - 1, 0
    for entry in range(left):
        at = word[_LEFT, entry]
        if word[_MARK, at + 1] < n - 1:
            continue
        head, tail = word[_GRAM, at], word[_GRAM, at + 1]
        slot = _slot((np.uint64(head) << np.uint64(32)) | np.uint64(tail), mask)
        while True:
            other = table[slot]
            if other < 0:
                table[slot], word[_NEXT, at], word[_COUNT, at] = at, at, 1
                break
            if word[_GRAM, other] == head and word[_GRAM, other + 1] == tail:
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
