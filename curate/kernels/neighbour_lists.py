"""The nearest neighbours of every vector, exactly: by cosine in float64, the first line on a tie.

A float32 product finds who may be among them; who that leaves in doubt is decided in float64. It
costs a product of all pairs and 12 bytes for each neighbour.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.cosine_screen import FloatScreen
from curate.kernels.directions import LANES, Directions, cosine_of, margin_of, unit

_BLOCK = 256


class NeighbourLists(NamedTuple):
    """For each line its neighbours, nearest first, and their cosines (-1 and NaN: none left)."""

    lines: np.ndarray
    cosines: np.ndarray

    def turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each line who has it as a neighbour: starts, those lines in order, cosines."""
        count, width = self.lines.shape
        who = np.repeat(np.arange(count, dtype=np.int32), width)
        whom, cosines = self.lines.ravel(), self.cosines.ravel()
        real = whom >= 0
        who, whom, cosines = who[real], whom[real], cosines[real]
        order = np.argsort(whom, kind="stable")
        starts = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(whom, minlength=count), out=starts[1:])
        return starts, who[order], cosines[order]


def neighbour_lists(
    directions: Directions, count: int, *, itself: bool, block: int = _BLOCK
) -> NeighbourLists:
    """Return the `count` nearest lines of every line; `itself` counts as one of its own, or not.

    A line of zeros has no neighbours and is nobody's.
    """
    size = len(directions)
    count = min(count, size)
    found = NeighbourLists(np.full((size, count), -1, np.int32), np.full((size, count), np.nan))
    units = unit(directions.vectors, directions.lengths)
    margin = margin_of(directions.vectors.shape[1])

    def fill(start: int) -> None:
        some = slice(start, min(start + block, size))
        _nearest(
            directions.vectors, directions.lengths, units[some] @ units.T, start, itself, margin,
            found.lines[some], found.cosines[some],
        )  # fmt: skip

    with FloatScreen().workers() as pool:
        _each(pool, fill, range(0, size, block))
    return found


def _each(pool: ThreadPoolExecutor, call: Any, values: range) -> None:
    for _ in pool.map(call, values):
        pass


@njit(nogil=True, cache=True)
def _nearest(
    vectors: np.ndarray,
    lengths: np.ndarray,
    products: np.ndarray,
    start: int,
    itself: bool,
    margin: float,
    out_lines: np.ndarray,
    out_cosines: np.ndarray,
) -> None:
    lanes = np.empty(LANES)
    least = np.empty(out_lines.shape[1], np.float32)
    for row in range(len(products)):
        line = start + row
        if lengths[line] == 0.0 or not len(least):
            continue
        floor = np.float64(_last_of_most(products[row], lengths, -1 if itself else line, least))
        filled = 0
        for other in range(len(vectors)):
            # Both the last one's product and this one's may be off by the margin.
            if np.float64(products[row, other]) < floor - 2.0 * margin:
                continue
            if lengths[other] == 0.0 or (other == line and not itself):
                continue
            cosine = cosine_of(vectors, lengths, line, vectors, lengths, other, lanes)
            filled = _insert(out_lines[row], out_cosines[row], filled, other, cosine)


@njit(nogil=True, cache=True)
def _insert(lines: np.ndarray, cosines: np.ndarray, filled: int, line: int, cosine: float) -> Any:
    """Put a line behind all that are as near or nearer; return how many there are."""
    if filled == len(lines) and not cosine > cosines[filled - 1]:
        return filled
    place = min(filled, len(lines) - 1)
    while place > 0 and cosine > cosines[place - 1]:
        lines[place], cosines[place] = lines[place - 1], cosines[place - 1]
        place -= 1
    lines[place], cosines[place] = line, cosine
    return min(filled + 1, len(lines))


@njit(nogil=True, cache=True)
def _last_of_most(products: np.ndarray, lengths: np.ndarray, without: int, heap: np.ndarray) -> Any:
    """Return the smallest of the largest products, as many as `heap` (a min-heap) has room for."""
    heap[:] = -np.inf
    size = len(heap)
    for other in range(len(products)):
        value = products[other]
        if value <= heap[0] or other == without or lengths[other] == 0.0:
            continue
        place = 0
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
    return heap[0]
