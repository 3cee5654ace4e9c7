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

import heapq
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit

from curate.kernels.directions import LANES, Directions, cosine_of, margin_of, unit
from curate.kernels.neighbour_lists import NeighbourLists

BUDGET = 256 << 20
_BLOCK = 512


class Quality(NamedTuple):
    """What a row is worth by itself: `weight` times its gain is added to `worth`."""

    weight: float
    worth: np.ndarray


class Gains(Protocol):
    """What choosing a row would add, given the rows chosen so far."""

    exact: bool

    def first(self) -> np.ndarray:
        """Return bounds of the gains of all rows before any choice (-inf: never choose)."""
        ...

    def bound(self, line: int) -> float:
        """Return a number that the row's gain does not exceed, in float64 arithmetic."""
        ...

    def gain(self, line: int) -> float:
        """Return the gain in float64, summed in the order of rows."""
        ...

    def choose(self, line: int) -> None:
        """Add a row to the chosen ones."""
        ...


def lazy_greedy(gains: Gains, count: int, quality: Quality | None = None) -> np.ndarray:
    """Return at most `count` lines, each the best given those before it, the first on a tie."""
    first = gains.first()

    def value(gain: float, line: int) -> float:
        return gain if quality is None else quality.weight * gain + float(quality.worth[line])

    # (minus its bound, the line, how many were chosen when it was looked at, whether it is exact)
    heap = [
        (-value(float(first[line]), line), line, 0, gains.exact)
        for line in np.flatnonzero(first > -np.inf).tolist()
    ]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        _, line, stage, exact = heap[0]
        if stage == len(chosen) and exact:
            heapq.heappop(heap)
            chosen.append(line)
            gains.choose(line)
            continue
        # What was a bound at this stage is now summed up; what is older is bounded anew.
        exact = gains.exact or stage == len(chosen)
        found = gains.gain(line) if exact else gains.bound(line)
        heapq.heapreplace(heap, (-value(found, line), line, len(chosen), exact))
    return np.array(chosen, np.int64)


class AllRows:
    """The gains over all rows."""

    exact = False

    def __init__(self, directions: Directions, budget: int = BUDGET) -> None:
        self._of = directions
        self._units = unit(directions.vectors, directions.lengths)
        self._margin = margin_of(directions.vectors.shape[1])
        self._best = np.zeros(len(directions))
        # Rows of zeros add nothing; a bound that no product reaches skips them.
        self._best[directions.lengths == 0] = np.inf
        fits = 4 * len(directions) ** 2 <= budget
        self._products = np.empty((len(directions),) * 2, np.float32) if fits else None

    def first(self) -> np.ndarray:
        """Bound all gains by blocks of products."""
        out = np.full(len(self._of), -np.inf)
        for start in range(0, len(out), _BLOCK):
            some = slice(start, min(start + _BLOCK, len(out)))
            room = None if self._products is None else self._products[some]
            product = np.matmul(self._units[some], self._units.T, out=room)
            _bounds(product, self._best, self._margin, out[some])
        out[self._of.lengths == 0] = -np.inf
        return out

    def bound(self, line: int) -> float:
        """Bound one gain by a line of products."""
        return float(_bound(self._line(line), self._best, self._margin))

    def gain(self, line: int) -> float:
        """Sum up one gain."""
        of = self._of
        about = self._line(line)
        return float(_gain(of.vectors, of.lengths, about, line, self._best, self._margin, False))

    def choose(self, line: int) -> None:
        """Raise the similarities that the row improves."""
        of = self._of
        _gain(of.vectors, of.lengths, self._line(line), line, self._best, self._margin, True)

    def _line(self, line: int) -> np.ndarray:
        kept = self._products
        product: np.ndarray = self._units @ self._units[line] if kept is None else kept[line]
        return product


class NearestRows:
    """The gains where a row counts only for those that have it among their nearest neighbours."""

    exact = True

    def __init__(self, directions: Directions, lists: NeighbourLists) -> None:
        self._lengths = directions.lengths
        self._best = np.zeros(len(directions))
        self._starts, self._lines, self._cosines = lists.turned()

    def first(self) -> np.ndarray:
        """Sum up all gains."""
        out = np.full(len(self._best), -np.inf)
        for line in np.flatnonzero(self._lengths > 0).tolist():
            out[line] = self.gain(line)
        return out

    def bound(self, line: int) -> float:
        """Sum up one gain: it is cheap."""
        return self.gain(line)

    def gain(self, line: int) -> float:
        """Sum up one gain."""
        some = slice(self._starts[line], self._starts[line + 1])
        return float(_sparse_gain(self._lines[some], self._cosines[some], self._best))

    def choose(self, line: int) -> None:
        """Raise the similarities that the row improves."""
        some = slice(self._starts[line], self._starts[line + 1])
        lines = self._lines[some]
        self._best[lines] = np.maximum(self._best[lines], self._cosines[some])


@njit(nogil=True, cache=True)
def _bound(product: np.ndarray, best: np.ndarray, margin: float) -> Any:
    total = 0.0
    for other in range(len(product)):
        total += max(0.0, np.float64(product[other]) + margin - best[other])
    return total


@njit(nogil=True, cache=True)
def _bounds(product: np.ndarray, best: np.ndarray, margin: float, out: np.ndarray) -> None:
    for line in range(len(product)):
        out[line] = _bound(product[line], best, margin)


@njit(nogil=True, cache=True)
def _gain(
    vectors: np.ndarray,
    lengths: np.ndarray,
    product: np.ndarray,
    line: int,
    best: np.ndarray,
    margin: float,
    keep: bool,
) -> Any:
    """Return the gain of a line; with `keep`, make it a choice."""
    lanes = np.empty(LANES)
    total = 0.0
    for other in range(len(vectors)):
        if np.float64(product[other]) + margin <= best[other]:
            continue
        cosine = cosine_of(vectors, lengths, line, vectors, lengths, other, lanes)
        if cosine > best[other]:
            total += cosine - best[other]
            if keep:
                best[other] = cosine
    return total


@njit(nogil=True, cache=True)
def _sparse_gain(lines: np.ndarray, cosines: np.ndarray, best: np.ndarray) -> Any:
    total = 0.0
    for place in range(len(lines)):
        total += max(0.0, cosines[place] - best[lines[place]])
    return total
