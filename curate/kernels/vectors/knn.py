"""The nearest neighbours of every vector, exactly: by cosine in float64, the first row on a tie.

Blocks are multiplied in low precision. The smallest of a row's `count`
largest products bounds the cosine of its last neighbour, and only who may be as near costs a
cosine in float64; so neither precision nor blocks and threads change a list. It costs a product
of all pairs, and 12 bytes for each neighbour.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.prefilter import BlockProducts, prepared, products_for
from curate.kernels.vectors.unit_vectors import LANES, UnitVectors, cosine_of

_BLOCK, _TILE = 512, 4096  # rows and columns of one product
_CHUNK = 32  # at most so many products are looked at as one


class NeighbourLists(NamedTuple):
    """For each row its neighbours, nearest first, and their cosines (-1 and NaN: none left)."""

    rows: np.ndarray
    cosines: np.ndarray

    def turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each row who has it as a neighbour: starts, those rows in order, cosines."""
        whom = self.rows.ravel()
        sizes = np.bincount(whom[whom >= 0], minlength=len(self.rows))
        starts = np.zeros(len(self.rows) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        who, cosines = np.empty(starts[-1], np.int32), np.empty(starts[-1])
        _turn(self.rows, self.cosines, starts[:-1].copy(), who, cosines)
        return starts, who, cosines


def neighbour_lists(
    every: UnitVectors,
    count: int,
    *,
    itself: bool,
    block: int = _BLOCK,
    tile: int = _TILE,
    by: BlockProducts | None = None,
) -> NeighbourLists:
    """Return the `count` nearest rows of every row; `itself` counts as one of its own, or not.

    A row of zeros has no neighbours and is nobody's.
    """
    size = len(every)
    count = min(count, size)
    found = NeighbourLists(np.full((size, count), -1, np.int32), np.full((size, count), np.nan))
    rows = np.flatnonzero(every.lengths > 0)
    by = by or products_for(len(rows))
    ready = prepared(by, every, rows)
    margin = by.measured_margin(ready, every, rows)
    search = _Search(by, ready, margin, count, itself, tile)

    def fill(start: int) -> None:
        own = rows[start : start + block]
        places, others, products, floors = search.candidates(start, len(own))
        near, cosines = found.rows[own], found.cosines[own]
        _decide(
            every.vectors, every.lengths, own, places, rows[others], products, floors,
            margin, itself, near, cosines,
        )  # fmt: skip
        found.rows[own], found.cosines[own] = near, cosines

    if count:
        with by.workers() as pool:
            list(pool.map(fill, range(0, len(rows), block)))
    return found


class _Search(NamedTuple):
    """Prepared vectors, and which of them to look for: the `most` nearest of each."""

    by: BlockProducts
    ready: Any
    margin: float
    most: int
    itself: bool
    tile: int

    def candidates(
        self, start: int, size: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return who may be near to which of the vectors from `start` on, as three columns.

        They are the places of the vectors, the candidates, and their products; and last, for each
        vector, a product that at least `most` others reach.
        """
        by, window = self.by, np.float32(2 * self.margin)
        own, count = self.ready[start : start + size], len(self.ready)
        chunk = max(1, min(_CHUNK, count // (2 * self.most)))
        heaps = np.full((size, self.most), by.lowest, np.asarray(by.lowest).dtype)
        parts = []
        for first in range(0, count, self.tile):
            products = by.products(own, self.ready[first : first + self.tile])
            if not self.itself:
                # A vector meets itself at the column of its place.
                shift, width = start - first, products.shape[1]
                places = np.arange(max(0, -shift), min(size, width - shift))
                products[places, places + shift] = by.lowest
            largest = np.empty((size, -(-products.shape[1] // chunk)), products.dtype)
            _hold_largest(products, largest, heaps)
            cuts = by.reached(by.floats(heaps[:, 0]) - window)
            places, others, values = _reaching(products, largest, cuts)
            parts.append((places, others + np.int32(first), by.floats(values)))
        places, others, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        return places, others, values, by.floats(heaps[:, 0])


@njit(nogil=True, cache=True)
def _hold_largest(products: np.ndarray, largest: np.ndarray, heaps: np.ndarray) -> None:
    """Write down the largest product of every chunk; the heap of a row holds its largest ones.

    A chunk is every so-manieth column. As many products as there are chunks in a heap reach its
    smallest, which is on top.
    """
    for row in range(products.shape[0]):
        entries, most, heap = products[row], largest[row], heaps[row]
        most[:] = entries[: len(most)]
        for start in range(len(most), len(entries), len(most)):
            some = entries[start : start + len(most)]
            for place in range(len(some)):  # without a branch: this one is vectorised
                most[place] = some[place] if some[place] > most[place] else most[place]
        for value in most:
            if value > heap[0]:
                _replace_top(heap, value)


def _reaching(
    products: np.ndarray, largest: np.ndarray, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and values of all entries that reach their row's cut."""
    room = 1 << 16
    while True:
        rows, columns = np.empty(room, np.int32), np.empty(room, np.int32)
        values = np.empty(room, products.dtype)
        count = _scan(products, largest, cuts, rows, columns, values)
        if count <= room:
            return rows[:count], columns[:count], values[:count]
        room = count


@njit(nogil=True, cache=True)
def _scan(
    products: np.ndarray,
    largest: np.ndarray,
    cuts: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
) -> Any:
    """Write down the entries that reach their cuts as far as there is room; return how many."""
    count = 0
    for row in range(products.shape[0]):
        cut = cuts[row]
        for chunk in range(largest.shape[1]):
            if largest[row, chunk] < cut:
                continue
            for column in range(chunk, products.shape[1], largest.shape[1]):
                if products[row, column] >= cut:
                    if count < len(rows):
                        rows[count], columns[count] = row, column
                        values[count] = products[row, column]
                    count += 1
    return count


@njit(nogil=True, cache=True)
def _replace_top(heap: np.ndarray, value: Any) -> None:
    place, size = 0, len(heap)
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@njit(nogil=True, cache=True)
def _decide(
    vectors: np.ndarray,
    lengths: np.ndarray,
    own: np.ndarray,
    places: np.ndarray,
    others: np.ndarray,
    products: np.ndarray,
    floors: np.ndarray,
    margin: float,
    itself: bool,
    out_rows: np.ndarray,
    out_cosines: np.ndarray,
) -> None:
    """Fill the lists: first with the largest products, so that few others are looked at."""
    lanes = np.empty(LANES)
    filled, size = np.zeros(len(own), np.int64), out_rows.shape[1]
    for largest in (True, False):
        for pair in range(len(places)):
            place, other, row = places[pair], others[pair], own[places[pair]]
            if (products[pair] >= floors[place]) != largest or (other == row and not itself):
                continue
            last = out_cosines[place, size - 1]
            if filled[place] == size and np.float64(products[pair]) + margin < last:
                continue
            cosine = cosine_of(vectors, lengths, row, vectors, lengths, other, lanes)
            filled[place] = _insert(
                out_rows[place], out_cosines[place], filled[place], other, cosine
            )


@njit(nogil=True, cache=True)
def _insert(rows: np.ndarray, cosines: np.ndarray, filled: int, row: int, cosine: float) -> Any:
    """Put a row where it belongs, the first one on a tie; return how many there are."""
    place = filled
    while place > 0 and (
        cosine > cosines[place - 1] or (cosine == cosines[place - 1] and row < rows[place - 1])
    ):
        place -= 1
    if place == len(rows):
        return filled
    for later in range(min(filled, len(rows) - 1), place, -1):
        rows[later], cosines[later] = rows[later - 1], cosines[later - 1]
    rows[place], cosines[place] = row, cosine
    return min(filled + 1, len(rows))


@njit(nogil=True, cache=True)
def _turn(
    lists: np.ndarray, values: np.ndarray, ends: np.ndarray, who: np.ndarray, cosines: np.ndarray
) -> None:
    """Write every row to its neighbours, in the order of rows."""
    for row in range(lists.shape[0]):
        for place in range(lists.shape[1]):
            whom = lists[row, place]
            if whom >= 0:
                who[ends[whom]], cosines[ends[whom]] = row, values[row, place]
                ends[whom] += 1
