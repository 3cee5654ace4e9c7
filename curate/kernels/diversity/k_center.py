"""Greedy k-center, lazily: always the row that is farthest from the chosen ones.

A row's cosine with the closest chosen one only grows as others are chosen, so that one from before
is a bound from below, and only the row with the smallest bound is compared with the choices that
it has not met (as Minoux 1978 does for sums). It meets them together, as rows of a matrix that
stays in the cache, where a pass over all rows for each choice waits for memory. A float32 product
says which cosines cannot be larger, float64 decides: the list is the naive one to the last tie.
It costs 16 bytes a row and a float32 copy of the chosen ones.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.kernels.arrays.heap import sink, take_top
from curate.kernels.vectors.unit_vectors import LANES, UnitVectors, cosine_of, margin_of, product_of

_NONE = -2.0  # below every cosine


def farthest_first(every: UnitVectors, first: int, count: int) -> np.ndarray:
    """Return at most `count` rows: `first`, then always the farthest one, the first on a tie.

    Rows of zeros are never chosen.
    """
    if not count:
        return np.empty(0, np.int64)
    able = np.flatnonzero(every.lengths > 0)
    heap = np.concatenate([[first], able[able != first]]).astype(np.int32)
    count = min(count, len(heap))
    width = every.vectors.shape[1]
    chosen, centres = np.empty(count, np.int64), np.empty((count, width), np.float32)
    best = np.full(len(every), _NONE)
    best[first] = -np.inf  # the top of the heap
    met = np.zeros(len(every), np.int32)
    _choose(every.vectors, every.lengths, heap, best, met, chosen, centres, margin_of(width))
    return chosen


@njit(nogil=True, cache=True)
def _choose(
    vectors: np.ndarray,
    lengths: np.ndarray,
    heap: np.ndarray,
    best: np.ndarray,
    met: np.ndarray,
    chosen: np.ndarray,
    centres: np.ndarray,
    margin: float,
) -> None:
    """Fill `chosen`, the top of the heap first; `best` holds bounds, `met` whom they are from."""
    own, lanes = np.empty(vectors.shape[1], np.float32), np.empty(LANES)
    size = len(heap)
    for count in range(len(chosen)):
        while met[heap[0]] < count:
            row = heap[0]
            _to_unit(vectors[row], lengths[row], own)
            for place in range(met[row], count):
                if np.float64(product_of(own, centres[place])) + margin < best[row]:
                    continue
                centre = chosen[place]
                cosine = cosine_of(vectors, lengths, row, vectors, lengths, centre, lanes)
                best[row] = max(best[row], cosine)
            met[row] = count
            sink(heap, size, best, 0)
        chosen[count] = heap[0]
        _to_unit(vectors[heap[0]], lengths[heap[0]], centres[count])
        size = take_top(heap, size, best)


@njit(nogil=True, cache=True)
def _to_unit(vector: np.ndarray, length: float, out: np.ndarray) -> None:
    scale = 1.0 / length
    for place in range(len(vector)):
        out[place] = np.float64(vector[place]) * scale
