"""Find the turns that may share an n-gram with a test set: one compiled pass of rolling hashes.

It looks only at ASCII turns, and its hits are hashes: every hit, and every other turn, is decided
by `kernels.sets.benchmarks`, which compares words. So the answer is exact, and clean rows cost one
pass.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from curate.kernels.sets.benchmarks import TestIndex
from curate.kernels.text.counts_compiled import text_bytes

_BASE = 0x9E3779B97F4A7C15


def suspects(turns: pa.StringArray, index: TestIndex) -> np.ndarray:
    """Return a mask of the turns that must be compared word by word."""
    hits: np.ndarray = hits_kernel(*text_bytes(turns), hash_table(index), index.n)
    hits |= ~np.asarray(pc.string_is_ascii(turns))
    return hits


@functools.lru_cache(maxsize=8)
def hash_table(index: TestIndex) -> np.ndarray:
    """Return an open table with the hash of every n-gram of the index; 0 marks an empty slot."""
    grams = [" ".join(gram) for gram in index.grams]
    size = 16
    while size < 4 * len(grams):
        size *= 2
    table = np.zeros(size, np.uint64)
    fill_kernel(*text_bytes(pa.array(grams, pa.string())), table, index.n)
    return table


@njit(inline="always")
def _letter(byte: Any) -> Any:
    """Return the byte as it is hashed: lower case, 0 for what stands between words."""
    if byte >= 0x80 or 97 <= byte <= 122 or 48 <= byte <= 57 or byte == 95:
        return np.uint64(byte)
    return np.uint64(byte + 32) if 65 <= byte <= 90 else np.uint64(0)


@njit(inline="always")
def _place(key: Any, table: np.ndarray) -> Any:
    """Return the slot of a key, or of the empty slot where it would go."""
    mask = np.uint64(len(table) - 1)
    slot = (key ^ (key >> np.uint64(29))) & mask
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(nogil=True, cache=True)
def hits_kernel(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, n: int) -> np.ndarray:
    """Tell of each text whether one of its n-grams (or all of a shorter one) is in the table."""
    out = np.zeros(len(offsets) - 1, np.bool_)
    ring, top = np.zeros(n, np.uint64), np.uint64(1)
    for _ in range(n):
        top *= np.uint64(_BASE)
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        count, word, rolled, inside = 0, np.uint64(0), np.uint64(0), False
        for at in range(len(text) + 1):
            byte = _letter(text[at]) if at < len(text) else np.uint64(0)
            if byte:
                word = (word + byte) * np.uint64(0x100000001B3)
                word ^= word >> np.uint64(32)
                inside = True
            elif inside:
                place = count % n
                old = ring[place] if count >= n else np.uint64(0)
                rolled = rolled * np.uint64(_BASE) + word - old * top
                ring[place], word, inside = word, np.uint64(0), False
                count += 1
                if count >= n and table[_place(rolled | np.uint64(1), table)]:
                    out[row] = True
                    break
        if 0 < count < n and table[_place(rolled | np.uint64(1), table)]:
            out[row] = True
    return out


@njit(nogil=True, cache=True)
def fill_kernel(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, n: int) -> None:
    """Put the hash of every text of at most n words into the table."""
    for row in range(len(offsets) - 1):
        word, rolled, inside = np.uint64(0), np.uint64(0), False
        text = data[offsets[row] : offsets[row + 1]]
        for at in range(len(text) + 1):
            byte = _letter(text[at]) if at < len(text) else np.uint64(0)
            if byte:
                word = (word + byte) * np.uint64(0x100000001B3)
                word ^= word >> np.uint64(32)
                inside = True
            elif inside:
                rolled = rolled * np.uint64(_BASE) + word
                word, inside = np.uint64(0), False
        key = rolled | np.uint64(1)
        table[_place(key, table)] = key
