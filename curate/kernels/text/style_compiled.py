"""Count what the style of a column of texts is made of, in one compiled pass per text.

Texts reach the kernel in lower case. Words are told apart by their 64-bit hashes; what depends on a
word alone (its syllables, whether it is a function word) is remembered by hash, since few words
make up most of a text. The kernel returns whole numbers only, so that features equal those of the
plain form to the last bit.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from curate.chunk import Chunk
from curate.kernels.sets.shingles_compiled import word_characters
from curate.kernels.text.counts_compiled import (
    LETTER,
    SPACE,
    character_flags,
    code_point,
    text_bytes,
    width_of,
)
from curate.kernels.text.normalize import lowered_column
from curate.kernels.text.style_features import (
    ALPHABET,
    CLOSERS,
    ENDINGS,
    FACTOR_TYPES,
    FACTOR_WORDS,
    FOLDED,
    OPENING_WORDS,
    OTHER,
    STOPS,
    VOWELS,
    StyleCounts,
    letter_codes,
    style_rules,
    style_text,
)
from curate.row import On

_FIELDS = StyleCounts._fields
_WORDS, _TYPES, _CHARACTERS, _LETTERS, _LATIN, _SYLLABLES, _SENTENCES = range(7)
_FUNCTION, _PUNCTUATION, _LINES, _ITEMS, _HEADERS, _BOLD, _FORWARD = range(7, 14)
_BACKWARD = _FORWARD + 3
# Flags of a code point: part of a word, a word of its own, white space, punctuation, a letter, an
# end of a sentence before white space, what may close one, an end of a sentence anywhere.
_PART, _ALONE, _BLANK, _PUNCT, _LETTER, _END, _CLOSER, _STOP = (1 << bit for bit in range(8))
_APOSTROPHE, _STAR, _FULL_STOP, _NEW_LINE = ord("'"), ord("*"), ord("."), ord("\n")
_TAB, _SPACE, _HASH, _BULLET, _BRACKET = ord("\t"), ord(" "), ord("#"), ord("•"), ord(")")
# The edge of a word, in patterns, and the places of their bits.
_EDGE, _BITS = 31, np.arange(64, dtype=np.uint64)
_VOWELS = np.uint32(sum(1 << ALPHABET.index(vowel) for vowel in VOWELS))
# Of how many words is remembered what depends on the word alone.
_REMEMBERED = 1 << 15
# Fowler, Noll and Vo's hash of 64 bits (FNV-1a).
_HASH_SEED, _HASH_FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_32, _SPREAD = np.uint64(32), np.uint64(0x9E3779B97F4A7C15)


class StyleColumn(NamedTuple):
    """A column of texts as it was counted.

    `counts` holds a row of `StyleCounts` for each text, `spans` where in `lowered` the first words
    are, and zeros for those that a text does not have.
    """

    counts: np.ndarray
    spans: np.ndarray
    lowered: pa.StringArray


def style_of(chunk: Chunk, on: On) -> StyleColumn:
    """Return what `count_style` finds in a text column, once per chunk."""
    made: StyleColumn = chunk.shared(("style", on), lambda: count_style(chunk.texts(on)))
    return made


def count_style(texts: pa.StringArray) -> StyleColumn:
    """Count `style_counts` of every text of a column without nulls."""
    lowered = pc.ascii_lower(lowered_column(texts, style_text))
    functions, abbreviations = _lists()
    rules = (np.frombuffer(letter_codes(), np.uint8), functions, *_patterns())
    found = _style_kernel(*text_bytes(lowered), _classes(), abbreviations, rules)
    return StyleColumn(*found, lowered)


def openings(column: StyleColumn) -> list[str]:
    """Return `opening` of every text of a column."""
    raw = text_bytes(column.lowered).data.tobytes()
    return [
        b" ".join(raw[start:end] for start, end in words if end).decode()
        for words in column.spans.tolist()
    ]


@functools.cache
def _classes() -> np.ndarray:
    """Return the flags of every code point."""
    words, flags = word_characters(), character_flags()
    table = words * np.uint8(1)
    table[ord("_")] = 0
    table |= ((flags & SPACE) > 0) * np.uint8(_BLANK)
    table |= ((flags & LETTER) > 0) * np.uint8(_LETTER)
    for point in range(len(table)):
        if unicodedata.category(chr(point))[0] == "P":
            table[point] |= _PUNCT
    for characters, flag in ((ENDINGS, _END), (CLOSERS, _CLOSER), (STOPS, _STOP)):
        for character in characters:
            table[ord(character)] |= flag
    return table


@functools.cache
def _lists() -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted hashes of function words and of abbreviations."""
    rules = style_rules()
    found = []
    for words in (rules.function_words, rules.abbreviations):
        hashes = []
        for word in words:
            state = int(_HASH_SEED)
            for byte in word.encode():
                state = (state ^ byte) * int(_HASH_FACTOR) & 0xFFFFFFFFFFFFFFFF
            hashes.append(state)
        found.append(np.sort(np.array(hashes, np.uint64)))
    return found[0], found[1]


@functools.cache
def _patterns() -> tuple[np.ndarray, np.uint64]:
    """Return the patterns of syllables, a bit for each, and the bits of those that add one.

    The first array says which patterns allow a letter (column) at a place (row); a pattern allows
    everything behind its end.
    """
    rules = style_rules()
    patterns = (*rules.added, *rules.removed)
    tokens = [re.findall(r"\[\^?[^\]]+\]|.", pattern) for pattern in patterns]
    allowed = np.zeros((max(map(len, tokens)), _EDGE + 1), np.uint64)
    # As many patterns as bits: more of them raise here.
    for bit, own in zip(np.left_shift(np.uint64(1), _BITS)[: len(tokens)], tokens, strict=True):
        for place in range(len(allowed)):
            token = own[place] if place < len(own) else ""
            for code, letter in enumerate(ALPHABET):
                if not token or (token not in "^$" and re.fullmatch(token, letter)):
                    allowed[place, code] |= bit
            if not token or token in "^$":
                allowed[place, _EDGE] |= bit
    return allowed, np.uint64((1 << len(rules.added)) - 1)


@njit(nogil=True, cache=True)
def _style_kernel(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    abbreviations: np.ndarray,
    rules: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of each text, and where the words of its opening begin and end."""
    rows, longest = len(offsets) - 1, 0
    for row in range(rows):
        longest = max(longest, offsets[row + 1] - offsets[row])
    counts = np.zeros((rows, len(_FIELDS)), np.int64)
    spans = np.zeros((rows, OPENING_WORDS, 2), np.int64)
    size = 4
    while size < 2 * longest:
        size *= 2
    hashes, word = np.empty(longest + 1, np.uint64), np.empty((2, longest + 1), np.int64)
    slots, facts = np.zeros((2, size), np.int64), np.empty(longest + 1, np.int64)
    ids, seen = np.empty(longest + 1, np.int64), np.zeros(longest + 1, np.int64)
    known, remembered = np.zeros(_REMEMBERED, np.uint64), np.zeros(_REMEMBERED, np.int64)
    folded, stamp = np.empty(longest + 16, np.uint8), 0
    for row in range(rows):
        at, end, own = np.int64(offsets[row]), np.int64(offsets[row + 1]), counts[row]
        while at < end:
            stop = at
            while stop < end and data[stop] != _NEW_LINE:
                stop += 1
            begin = _skip_marker(data, at, stop, own)
            own[_LINES] += _read_line(
                data, begin, stop, classes, abbreviations, own, hashes, word
            ) or (begin > at)
            at = stop + 1
        for place in range(min(OPENING_WORDS, own[_WORDS])):
            spans[row, place, 0], spans[row, place, 1] = word[0, place], word[1, place]
        mask = 4
        while mask < 2 * own[_WORDS]:
            mask *= 2
        types = 0
        for place in range(own[_WORDS]):
            key = hashes[place]
            slot = np.int64((key * _SPREAD) >> _32) & (mask - 1)
            while slots[0, slot] == row + 1 and hashes[slots[1, slot]] != key:
                slot = (slot + 1) & (mask - 1)
            if slots[0, slot] != row + 1:
                slots[0, slot], slots[1, slot], ids[place] = row + 1, place, types
                memory = np.int64(key) & (_REMEMBERED - 1)
                if known[memory] != key or not remembered[memory]:
                    fact = _facts_of(data, word[0, place], word[1, place], key, folded, rules)
                    known[memory], remembered[memory] = key, fact
                facts[types] = remembered[memory]
                types += 1
            else:
                ids[place] = ids[slots[1, slot]]
            own[_FUNCTION] += facts[ids[place]] & 1
            own[_SYLLABLES] += facts[ids[place]] >> 1
        own[_TYPES] = types
        stamp = _count_factors(ids[: own[_WORDS]], seen, stamp, own[_FORWARD:_BACKWARD])
        backward = ids[: own[_WORDS]][::-1]
        stamp = _count_factors(backward, seen, stamp, own[_BACKWARD:])
    return counts, spans


@njit(nogil=True, cache=True)
def _skip_marker(data: np.ndarray, at: Any, end: Any, own: np.ndarray) -> Any:
    """Return where a line begins behind the marker of a list item or header, which is counted."""
    begin = at
    while at < end and (data[at] == _SPACE or data[at] == _TAB):
        at += 1
    start, kind = at, _ITEMS
    if at < end and data[at] in (45, 42, 43):  # - * +
        at += 1
    elif at + 2 < end and data[at] == 226 and code_point(data, at) == _BULLET:
        at += 3
    elif at < end and data[at] == _HASH:
        kind = _HEADERS
        while at < end and data[at] == _HASH and at - start < 7:
            at += 1
        if at - start > 6:
            return begin
    else:
        while at < end and 48 <= data[at] <= 57 and at - start < 4:
            at += 1
        if at in (start, end) or at - start > 3:
            return begin
        if data[at] != _FULL_STOP and data[at] != _BRACKET:
            return begin
        at += 1
    behind = at
    while at < end and (data[at] == _SPACE or data[at] == _TAB):
        at += 1
    if at == behind:
        return begin
    own[kind] += 1
    return at


@njit(nogil=True, cache=True)
def _read_line(
    data: np.ndarray,
    at: Any,
    end: Any,
    classes: np.ndarray,
    abbreviations: np.ndarray,
    own: np.ndarray,
    hashes: np.ndarray,
    word: np.ndarray,
) -> Any:
    """Count the words, sentences and marks of a line; return whether it is not blank."""
    visible, ending, open_words, delimiters, abbreviated = False, False, 0, 0, np.int64(-1)
    count, sentences, punctuation = own[_WORDS], 0, 0
    characters, letters, latin = 0, 0, 0
    while at < end:
        point, width = _character(data, at)
        flag = classes[point]
        if flag & (_PART | _ALONE):
            begin = at
            at, key, found, of_them, ascii_only = _read_word(data, at, end, classes)
            characters, letters, latin = characters + found, letters + of_them, latin + ascii_only
            hashes[count], word[0, count], word[1, count] = key, begin, at
            visible, ending = True, False
            open_words, count = open_words + 1, count + 1
            if at < end and data[at] == _FULL_STOP and _holds(abbreviations, key):
                abbreviated = at
            continue
        if flag & _BLANK:
            sentences += ending and open_words > 0
            open_words = 0 if ending else open_words
            ending = False
        elif point == _STAR and at + 1 < end and data[at + 1] == _STAR:
            visible, delimiters = True, delimiters + 1
            while at < end and data[at] == _STAR:
                at += 1
            continue
        else:
            visible = True
            punctuation += (flag & _PUNCT) > 0
            if flag & _STOP:
                sentences += open_words > 0
                open_words, ending = 0, False
            elif flag & _END:
                ending = ending or point != _FULL_STOP or at != abbreviated
            elif not flag & _CLOSER:
                ending = False
        at += width
    own[_WORDS] = count
    own[_SENTENCES] += sentences + (open_words > 0)
    own[_PUNCTUATION] += punctuation
    own[_BOLD] += delimiters // 2
    own[_CHARACTERS] += characters
    own[_LETTERS] += letters
    own[_LATIN] += latin
    return visible


@njit(inline="always")
def _read_word(data: np.ndarray, at: Any, end: Any, classes: np.ndarray) -> Any:
    """Return where the word that begins here ends, its hash, characters, letters and Latin ones."""
    key, characters, letters, latin = _HASH_SEED, 0, 0, 0
    point, width = _character(data, at)
    flag = classes[point]
    alone = flag & _ALONE
    while True:
        characters += 1
        letters += (flag & _LETTER) > 0
        latin += (flag & _LETTER) > 0 and point < 128
        for place in range(at, at + width):
            key = (key ^ np.uint64(data[place])) * _HASH_FACTOR
        at += width
        if alone or at >= end:
            break
        point, width = _character(data, at)
        flag = classes[point]
        if point == _APOSTROPHE and at + 1 < end:
            # One inside a word belongs to it.
            point, width = _character(data, at + 1)
            flag = classes[point]
            if flag & _PART:
                key = (key ^ np.uint64(_APOSTROPHE)) * _HASH_FACTOR
                at += 1
        if not flag & _PART:
            break
    return at, key, characters, letters, latin


@njit(inline="always")
def _character(data: np.ndarray, at: Any) -> Any:
    """Return the code point that begins at `at` and its bytes."""
    lead = np.int64(data[at])
    if lead < 128:
        return lead, 1
    return code_point(data, at), width_of(data[at])


@njit(nogil=True, cache=True)
def _holds(hashes: np.ndarray, key: Any) -> Any:
    """Tell whether a sorted list has the hash of a word."""
    place = np.searchsorted(hashes, key)
    return place < len(hashes) and hashes[place] == key


@njit(nogil=True, cache=True)
def _facts_of(data: np.ndarray, at: Any, end: Any, key: Any, folded: np.ndarray, rules: Any) -> Any:
    """Return twice the syllables of a word, and one more for a function word."""
    letters, functions, allowed, adding = rules
    size, groups, before = 1, 0, False
    folded[0] = _EDGE
    while at < end:
        point, width = _character(data, at)
        code = letters[point] if point < FOLDED else np.uint8(OTHER)
        vowel = (_VOWELS >> np.uint32(code)) & np.uint32(1) == 1
        groups += vowel and not before
        before = vowel
        folded[size] = code
        size += 1
        at += width
    folded[size : size + len(allowed)] = _EDGE
    matched = np.uint64(0)
    for start in range(size + 1):
        fits, place = allowed[0, folded[start]], 1
        while fits and place < len(allowed):
            fits &= allowed[place, folded[start + place]]
            place += 1
        matched |= fits
    while matched:
        last = matched & (~matched + np.uint64(1))
        groups += 1 if last & adding else -1
        matched ^= last
    return 2 * max(1, groups) + _holds(functions, key)


@njit(nogil=True, cache=True)
def _count_factors(ids: np.ndarray, seen: np.ndarray, stamp: Any, own: np.ndarray) -> Any:
    """Count the factors of MTLD and what is left; return the last stamp that `seen` holds."""
    types, words = 0, 0
    stamp += 1
    for one in ids:
        words += 1
        types += seen[one] != stamp
        seen[one] = stamp
        if FACTOR_TYPES * types <= FACTOR_WORDS * words:
            own[0] += 1
            types, words, stamp = 0, 0, stamp + 1
    own[1], own[2] = types, words
    return stamp
