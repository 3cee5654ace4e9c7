"""A heap of lines for compiled code: the smallest key on top, the first line on a tie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def heap_up(heap: np.ndarray, keys: np.ndarray) -> None:
    """Make a heap of lines in any order."""
    for place in range(len(heap) // 2 - 1, -1, -1):
        sink(heap, len(heap), keys, place)


@njit(nogil=True, cache=True)
def sink(heap: np.ndarray, size: int, keys: np.ndarray, place: int) -> None:
    """Let the line at a place, whose key may have grown, find its place among the first `size`."""
    line = heap[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[child + 1], heap[child], keys):
            child += 1
        if not _before(heap[child], line, keys):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = line


@njit(nogil=True, cache=True)
def take_top(heap: np.ndarray, size: int, keys: np.ndarray) -> Any:
    """Take the top line off the first `size` of a heap; return how many are left."""
    heap[0] = heap[size - 1]
    sink(heap, size - 1, keys, 0)
    return size - 1


@njit(nogil=True, cache=True)
def _before(one: int, other: int, keys: np.ndarray) -> Any:
    return keys[one] < keys[other] or (keys[one] == keys[other] and one < other)
