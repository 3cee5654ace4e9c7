"""All pairs of vectors whose cosine reaches a threshold, exactly.

Blocks of distinct vectors are multiplied by a screen (`kernels.cosine_screen`), and every pair that
it names is decided by its float64 cosine (`kernels.directions`), so that block size, threads and
the screen change no bit of the answer. The cost is a product of all pairs, and 24 bytes for each
pair that is found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.low_precision import Prefilter, prepared, screen_for
from curate.kernels.vectors.unit_vectors import UnitVectors

BLOCK = 1024  # its products (2 or 4 MB) stay in the cache of one core or its neighbours
_WAVE = 512  # products in flight; pairs are counted against the budget between waves
BYTES_PER_PAIR = 24


class Neighbours(NamedTuple):
    """For each distinct vector its close ones, ascending: `others[starts[i]:starts[i + 1]]`.

    `lines` are the vectors' lines in the matrix; `others` counts along `lines`.
    """

    lines: np.ndarray
    starts: np.ndarray
    others: np.ndarray
    cosines: np.ndarray

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.others) // 2


def neighbours(
    own: UnitVectors,
    at_least: float,
    *,
    budget: int | None = None,
    block: int = BLOCK,
    screen: Prefilter | None = None,
) -> Neighbours | None:
    """Find all pairs of distinct vectors with a cosine of `at_least`.

    Returns `None` where they would take more than `budget` bytes.
    """
    lines = own.distinct()
    screen = screen or screen_for(len(lines), at_least)
    ready = prepared(screen, own, lines)
    cut = at_least - screen.margin(own.vectors.shape[1])

    def close(task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b = task
        left, right = screen.reaching(ready[a : a + block], ready[b : b + block], cut)
        left, right = left + np.int32(a), right + np.int32(b)
        if a == b:
            upper = left < right
            left, right = left[upper], right[upper]
        cosines = own.cosines(lines[left], lines[right])
        enough = cosines >= at_least
        return left[enough], right[enough], cosines[enough]

    found = _in_waves(screen, close, _blocks(len(lines), block), budget)
    return None if found is None else both_ways(lines, *found)


def _blocks(count: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks of the upper triangle, line by line."""
    for a in range(0, count, block):
        for b in range(a, count, block):
            yield a, b


def _in_waves(
    screen: Prefilter, work: Any, tasks: Iterator[tuple[int, int]], budget: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return what `work` finds for all tasks, in their order, or `None` above the budget."""
    found, count = [], 0
    with screen.workers() as pool:
        while wave := list(itertools.islice(tasks, _WAVE)):
            for part in pool.map(work, wave):
                found.append(part)
                count += len(part[0])
            if budget is not None and count * BYTES_PER_PAIR > budget:
                return None
    none = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
    left, right, cosines = (np.concatenate(parts) for parts in zip(none, *found, strict=True))
    return left, right, cosines


def both_ways(
    lines: np.ndarray, left: np.ndarray, right: np.ndarray, cosines: np.ndarray
) -> Neighbours:
    """Return pairs (left below right, ascending) as the neighbours of both."""
    sizes = np.bincount(left, minlength=len(lines)) + np.bincount(right, minlength=len(lines))
    starts = np.zeros(len(lines) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    others, values = np.empty(2 * len(left), np.int32), np.empty(2 * len(left))
    _fill(left, right, cosines, starts[:-1].copy(), others, values)
    return Neighbours(lines, starts, others, values)


@njit(nogil=True, cache=True)
def _fill(
    left: np.ndarray,
    right: np.ndarray,
    cosines: np.ndarray,
    ends: np.ndarray,
    others: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write every pair to both its vectors; the order of the pairs keeps each one's ascending."""
    for pair in range(len(left)):
        at = ends[right[pair]]
        others[at], values[at] = left[pair], cosines[pair]
        ends[right[pair]] += 1
    for pair in range(len(left)):
        at = ends[left[pair]]
        others[at], values[at] = right[pair], cosines[pair]
        ends[left[pair]] += 1
