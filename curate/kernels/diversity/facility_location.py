"""Facility location by lazy greedy: the rows that stand for all others best, one after the other.

The gain of a row is what it adds to the sum, over all rows, of the similarity (the cosine, 0 where
that is negative) to the closest chosen row. A gain only shrinks as others are chosen, so that one
looked at before is a bound, and few rows are looked at again (Minoux 1978). A float32 product gives
a bound from above; only the row at the top is summed up in float64, in the order of rows. Floating
sums in one order keep the order of their terms, so the list is the naive one to the last tie.

All rows cost n^2 products, kept where they fit in `BUDGET` and made again where not. Over nearest
neighbours only the `neighbours` closest of each row count: 12 bytes for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.arrays.heap import heap_up, sink, take_top
from curate.kernels.vectors.knn import NeighbourLists
from curate.kernels.vectors.prefilter import Float32Products
from curate.kernels.vectors.unit_vectors import (
    LANES,
    UnitVectors,
    cosine_of,
    margin_of,
    product_of,
    unit,
)

BUDGET = 256 << 20
_BLOCK = 512


class Quality(NamedTuple):
    """What a row is worth by itself: `weight` times its gain is added to `worth`."""

    weight: float
    worth: np.ndarray


def greedy_over_all(
    every: UnitVectors, count: int, quality: Quality | None = None, *, budget: int = BUDGET
) -> np.ndarray:
    """Return at most `count` rows, each the best given those before it, the first on a tie.

    `budget`: bytes that the products of all pairs may take.
    """
    units = unit(every.vectors, every.lengths)
    margin = margin_of(every.vectors.shape[1])
    # Rows of zeros add nothing; a bound that no product reaches skips them.
    best = np.where(every.lengths > 0, 0.0, np.inf)
    fits = 4 * len(every) ** 2 <= budget
    products = np.empty((len(every),) * 2 if fits else (0, 0), np.float32)
    bounds = np.empty(len(every))

    def fill(start: int) -> None:
        some = slice(start, min(start + _BLOCK, len(bounds)))
        product = np.matmul(units[some], units.T, out=products[some] if fits else None)
        _bounds(product, best, margin, bounds[some])

    with Float32Products().workers() as pool:
        list(pool.map(fill, range(0, len(bounds), _BLOCK)))
    heap, chosen, weight, worth = _start(every, count, quality)
    _choose_over_all(
        every.vectors, every.lengths, units, products, margin, best, weight, worth,
        -(weight * bounds + worth), heap, chosen,
    )  # fmt: skip
    return chosen


def greedy_over_neighbours(
    every: UnitVectors, lists: NeighbourLists, count: int, quality: Quality | None = None
) -> np.ndarray:
    """Return such rows where a row counts only for those that have it among their neighbours."""
    heap, chosen, weight, worth = _start(every, count, quality)
    _choose_over_neighbours(*lists.turned(), weight, worth, heap, chosen)
    return chosen


def _start(
    every: UnitVectors, count: int, quality: Quality | None
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Return the rows that may be chosen, room for the chosen ones, weight and worth."""
    able = np.flatnonzero(every.lengths > 0).astype(np.int32)
    quality = quality or Quality(1.0, np.zeros(len(every)))
    return able, np.empty(min(count, len(able)), np.int64), quality.weight, quality.worth


@njit(nogil=True, cache=True)
def _choose_over_all(
    vectors: np.ndarray,
    lengths: np.ndarray,
    units: np.ndarray,
    products: np.ndarray,
    margin: float,
    best: np.ndarray,
    weight: float,
    worth: np.ndarray,
    keys: np.ndarray,
    heap: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Fill `chosen`; `keys` are minus the values, or their bounds, of when a row was looked at."""
    stage, exact = np.zeros(len(keys), np.int32), np.zeros(len(keys), np.bool_)
    room = np.empty(len(keys), np.float32)
    size = len(heap)
    heap_up(heap, keys)
    for count in range(len(chosen)):
        while stage[heap[0]] < count or not exact[heap[0]]:
            row = heap[0]
            product = _products_of(row, units, products, room)
            # What was a bound at this stage is now summed up; what is older is bounded anew.
            exact[row] = stage[row] == count
            if exact[row]:
                gain = _gain(vectors, lengths, product, row, best, margin, False)
            else:
                gain = _bound(product, best, margin)
            keys[row], stage[row] = -(weight * gain + worth[row]), count
            sink(heap, size, keys, 0)
        row = heap[0]
        chosen[count] = row
        _gain(vectors, lengths, _products_of(row, units, products, room), row, best, margin, True)
        size = take_top(heap, size, keys)


@njit(nogil=True, cache=True)
def _choose_over_neighbours(
    starts: np.ndarray,
    others: np.ndarray,
    cosines: np.ndarray,
    weight: float,
    worth: np.ndarray,
    heap: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Fill `chosen`; sums over those that have a row as a neighbour are cheap and exact."""
    best, keys = np.zeros(len(worth)), np.empty(len(worth))
    stage = np.zeros(len(worth), np.int32)
    for row in heap:
        keys[row] = -(weight * _sparse_gain(row, starts, others, cosines, best) + worth[row])
    size = len(heap)
    heap_up(heap, keys)
    for count in range(len(chosen)):
        while stage[heap[0]] < count:
            row = heap[0]
            gain = _sparse_gain(row, starts, others, cosines, best)
            keys[row], stage[row] = -(weight * gain + worth[row]), count
            sink(heap, size, keys, 0)
        chosen[count] = heap[0]
        for place in range(starts[heap[0]], starts[heap[0] + 1]):
            best[others[place]] = max(best[others[place]], cosines[place])
        size = take_top(heap, size, keys)


@njit(nogil=True, cache=True)
def _products_of(row: int, units: np.ndarray, products: np.ndarray, room: np.ndarray) -> Any:
    """Return a row of products: one that was kept, or one that is made in `room`."""
    if len(products):
        return products[row]
    for other in range(len(units)):
        room[other] = product_of(units[other], units[row])
    return room


@njit(nogil=True, cache=True)
def _bound(product: np.ndarray, best: np.ndarray, margin: float) -> Any:
    """Return what no float64 sum of gains exceeds, in whatever order this one is added up."""
    return _sum_of_gains(product, best, margin) * (1.0 + len(product) * 2.0**-51)


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract", "arcp"})
def _sum_of_gains(product: np.ndarray, best: np.ndarray, margin: float) -> Any:
    total = 0.0
    for other in range(len(product)):
        gain = np.float64(product[other]) + margin - best[other]
        total += gain if gain > 0.0 else 0.0
    return total


@njit(nogil=True, cache=True)
def _bounds(product: np.ndarray, best: np.ndarray, margin: float, out: np.ndarray) -> None:
    for row in range(len(product)):
        out[row] = _bound(product[row], best, margin)


@njit(nogil=True, cache=True)
def _gain(
    vectors: np.ndarray,
    lengths: np.ndarray,
    product: np.ndarray,
    row: int,
    best: np.ndarray,
    margin: float,
    keep: bool,
) -> Any:
    """Return the gain of a row, summed in the order of rows; with `keep`, make it a choice."""
    lanes = np.empty(LANES)
    total = 0.0
    for other in range(len(vectors)):
        if np.float64(product[other]) + margin <= best[other]:
            continue
        cosine = cosine_of(vectors, lengths, row, vectors, lengths, other, lanes)
        if cosine > best[other]:
            total += cosine - best[other]
            if keep:
                best[other] = cosine
    return total


@njit(nogil=True, cache=True)
def _sparse_gain(
    row: int, starts: np.ndarray, others: np.ndarray, cosines: np.ndarray, best: np.ndarray
) -> Any:
    total = 0.0
    for place in range(starts[row], starts[row + 1]):
        total += max(0.0, cosines[place] - best[others[place]])
    return total
