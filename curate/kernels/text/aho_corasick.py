"""Find the texts that hold one of many phrases, in one pass however many phrases there are.

An automaton of Aho and Corasick (1975) reads each text once: letters in lower case where case is
ignored, and any run of white space as one blank. RE2 does the same for a few alternatives, but
falls back from its fast engine at some dozens: 0.5 ms a text for the refusals, against 1 us here.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.text.counts_compiled import code_point, text_bytes, width_of

_BLANK = 32
# Bytes read before a text that was found to hold a phrase makes room for the next one.
_STRETCH = 256
# What Python's `\s` takes for white space, and where its IGNORECASE meets an ASCII letter.
_SPACES = tuple(i for i in range(0x3001) if chr(i).isspace())
_FOLDED = {0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"}


class Automaton(NamedTuple):
    """Where each state goes for each class of byte, and the classes.

    `table`: int32, the states one after another, each a row of as many entries as there are
    classes; an entry is where the next state's row begins. The last state is that of a text that
    holds a phrase, and never left. `classes`: uint8 per byte, of ASCII with case and white space
    folded. `special`: uint8 per code point below 12,289, the ASCII byte that stands for it, or 0.
    """

    table: np.ndarray
    classes: np.ndarray
    special: np.ndarray


@functools.lru_cache
def automaton(phrases: tuple[str, ...], *, ignore_case: bool) -> Automaton:
    """Return the automaton of `phrases`, read as `texts_holding` reads texts."""
    read = (" ".join(phrase.split()) for phrase in phrases)
    words = [(text.lower() if ignore_case else text).encode() for text in read]
    classes = np.zeros(256, np.uint8)
    for number, byte in enumerate(sorted({byte for word in words for byte in word}), 1):
        classes[byte] = number
    table: list[list[int]] = [[0] * (int(classes.max()) + 1)]
    ends = [False]
    for word in words:
        state = 0
        for byte in word:
            known = table[state][classes[byte]]
            if not known:
                known = len(table)
                table[state][classes[byte]] = known
                table.append([0] * len(table[0]))
                ends.append(False)
            state = known
        ends[state] = True
    # Where a state goes when its phrase breaks off: what its longest suffix would do.
    fallback = [0] * len(table)
    waiting = deque(state for state in table[0] if state)
    while waiting:
        state = waiting.popleft()
        ends[state] = ends[state] or ends[fallback[state]]
        for number, following in enumerate(table[state]):
            instead = table[fallback[state]][number]
            if following:
                fallback[following] = instead
                waiting.append(following)
            else:
                table[state][number] = instead
    special = np.zeros(0x3001, np.uint8)
    special[list(_SPACES)] = _BLANK
    if ignore_case:
        special[ord("A") : ord("Z") + 1] = np.arange(ord("a"), ord("z") + 1)
        for code, letter in _FOLDED.items():
            special[code] = ord(letter)
    folded = classes.copy()
    folded[:128] = classes[np.where(special[:128] > 0, special[:128], np.arange(128))]
    return Automaton(
        _collapsed(np.array(table, np.int32), np.array(ends), int(classes[_BLANK])), folded, special
    )


def _collapsed(table: np.ndarray, ends: np.ndarray, blank: int) -> np.ndarray:
    """Return the flat table in which a run of blanks is read as one, and a phrase ends the search.

    Each state has a twin that has just read a blank, and stays where it is for another one.
    """
    count, width = table.shape
    following = table.copy()
    if blank:
        following[:, blank] += count
    following = np.vstack([following, following, np.full(width, 2 * count)])
    if blank:
        following[count : 2 * count, blank] = np.arange(count, 2 * count)
    ended = np.flatnonzero(ends)
    following[np.isin(following, np.concatenate([ended, ended + count]))] = 2 * count
    return np.ascontiguousarray(following * width, np.int32).ravel()


def texts_holding(
    texts: pa.StringArray, phrases: tuple[str, ...], *, ignore_case: bool
) -> np.ndarray:
    """Return a mask of the texts that hold a phrase, wherever its words begin and end.

    With `ignore_case` the phrases' letters outside ASCII must have no case.
    """
    data, offsets = text_bytes(texts)
    machine = automaton(phrases, ignore_case=ignore_case)
    out = np.zeros(len(texts), np.bool_)
    plain = plain_kernel(data, offsets)
    lanes_kernel(data, offsets, np.flatnonzero(plain), machine.table, machine.classes, out)
    characters_kernel(data, offsets, np.flatnonzero(~plain), *machine, out)
    return out


@njit(nogil=True, cache=True)
def plain_kernel(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return a mask of the texts in ASCII."""
    out = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(out)):
        seen = np.uint8(0)
        for byte in data[offsets[row] : offsets[row + 1]]:
            seen |= byte
        out[row] = seen < 0x80
    return out


@njit(nogil=True, cache=True)
def lanes_kernel(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    table: np.ndarray,
    classes: np.ndarray,
    out: np.ndarray,
) -> None:
    """Run the automaton over texts in ASCII, four at a time.

    Each step of one text waits for the step before; those of four texts do not wait for each other.
    """
    last = table[-1]
    row, at, end = np.full(4, -1), np.zeros(4, np.int64), np.zeros(4, np.int64)
    state = np.zeros(4, np.int64)
    taken = 0
    while True:
        steps = np.int64(_STRETCH)
        for lane in range(4):
            while at[lane] == end[lane] or state[lane] == last:
                if row[lane] >= 0:
                    out[row[lane]] = state[lane] == last
                state[lane], row[lane] = 0, -1
                if taken == len(rows):
                    at[lane] = end[lane] = 0
                    break
                row[lane] = rows[taken]
                at[lane], end[lane] = offsets[row[lane]], offsets[row[lane] + 1]
                taken += 1
            if row[lane] >= 0:
                steps = min(steps, end[lane] - at[lane])
        if row.max() < 0:
            return
        # A lane without a text reads along from the first byte; nobody looks at its state.
        a, b, c, d = at
        one, two, three, four = state
        for step in range(steps):
            one = np.int64(table[one + classes[data[a + step]]])
            two = np.int64(table[two + classes[data[b + step]]])
            three = np.int64(table[three + classes[data[c + step]]])
            four = np.int64(table[four + classes[data[d + step]]])
        state[:] = one, two, three, four
        at += np.where(row >= 0, steps, 0)


@njit(nogil=True, cache=True)
def characters_kernel(
    data: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    table: np.ndarray,
    classes: np.ndarray,
    special: np.ndarray,
    out: np.ndarray,
) -> None:
    """Run the automaton over texts of any characters until it ends a phrase."""
    last = table[-1]
    for row in rows:
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        state = np.int64(0)
        while at < end and state != last:
            byte, width = data[at], 1
            if byte >= 0xC0:
                code = code_point(data, at)
                if code < len(special) and special[code]:
                    byte, width = special[code], width_of(byte)
            at += width
            state = np.int64(table[state + classes[byte]])
        out[row] = state == last
