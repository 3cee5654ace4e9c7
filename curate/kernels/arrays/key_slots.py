"""An open-addressing table of 64-bit keys, by linear probing; its size is a power of two.

A slot holds one more than the number of its key, or zero while it is free.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, inline="always")
def _slot(table: np.ndarray, numbers: np.ndarray, key: np.uint64) -> np.int64:
    """Return the slot that holds `key`, or the free one where it belongs."""
    mask = np.uint64(len(table) - 1)
    at = (key ^ (key >> np.uint64(29))) & mask
    while numbers[at] != 0 and table[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@njit(nogil=True, cache=True)
def fill(
    table: np.ndarray, numbers: np.ndarray, keys: np.ndarray, count: int, out: np.ndarray
) -> int:
    """Write the number of each key to `out`, `count` being the next; return the next one then."""
    for row in range(len(keys)):
        at = _slot(table, numbers, keys[row])
        if numbers[at] == 0:
            count += 1
            table[at], numbers[at] = keys[row], count
        out[row] = np.int64(numbers[at]) - 1
    return count


@njit(nogil=True, cache=True)
def refill(
    table: np.ndarray, numbers: np.ndarray, old_table: np.ndarray, old_numbers: np.ndarray
) -> None:
    """Move the keys of a smaller table into an empty one."""
    for row in range(len(old_table)):
        if old_numbers[row] != 0:
            at = _slot(table, numbers, old_table[row])
            table[at], numbers[at] = old_table[row], old_numbers[row]
