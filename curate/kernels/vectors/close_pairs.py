"""Close pairs of vectors: where they come from, and the exact search for them.

A `PairSource` finds the close pairs among some vectors, and between those and the vectors kept so
far. There are three: `AllPairs` (exact), `Neighbours` (found before and stored) and the approximate
index (`ivf_index`). A prefilter names the pairs that may reach the threshold, and each is decided
by its float64 cosine, so that block size, threads and prefilter change no bit of the answer. The
exact search costs a product of all pairs, and 24 bytes for each pair that is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.vectors.prefilter import Prefilter, in_waves, prefilter_for, prepared
from curate.kernels.vectors.unit_vectors import UnitVectors

_WAVE = 512  # products in flight; pairs are counted against the budget between waves
BYTES_PER_PAIR = 24


class PairSource(Protocol):
    """Close pairs of the vectors at `rows`, which are named by their places there."""

    @property
    def rows(self) -> np.ndarray:
        """The rows of the matrix whose vectors are compared."""
        ...

    @property
    def portion(self) -> int | None:
        """How many vectors it is best asked about at once; `None`: all of them."""
        ...

    def keep(self, vectors: np.ndarray) -> None:
        """Compare what is asked about from now on with these vectors, too."""
        ...

    def among(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours that vectors have among themselves.

        Returns `None` where they would take more than `budget` bytes.
        """
        ...

    def near(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours of vectors among themselves and the kept ones, or `None`."""
        ...


class Neighbours(NamedTuple):
    """The neighbours of each vector: `others[starts[i]:starts[i + 1]]`, places in `rows`.

    As a source of pairs it finds nothing anew: it holds all of them.
    """

    rows: np.ndarray
    starts: np.ndarray
    others: np.ndarray
    cosines: np.ndarray

    @property
    def portion(self) -> int | None:
        """All vectors may be asked about at once."""
        return None

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.others) // 2

    def keep(self, vectors: np.ndarray) -> None:
        """Do nothing: the neighbours of every vector are known."""

    def among(self, asked: np.ndarray, budget: int | None = None) -> Neighbours:
        """Return all neighbours of all vectors."""
        return self

    def near(self, asked: np.ndarray, budget: int | None = None) -> Neighbours:
        """Return all neighbours of all vectors."""
        return self


class ClosePairs(NamedTuple):
    """ClosePairs of vectors, and the cosine of each."""

    left: np.ndarray
    right: np.ndarray
    cosines: np.ndarray


class AllPairs:
    """All pairs of vectors with a cosine of `at_least`: those at `rows`, or all distinct ones."""

    def __init__(
        self,
        own: UnitVectors,
        at_least: float,
        *,
        rows: np.ndarray | None = None,
        block: int | None = None,
        prefilter: Prefilter | None = None,
    ) -> None:
        """Choose the prefilter; vectors are prepared when they are asked about or kept."""
        self.rows = own.distinct() if rows is None else rows
        self._own, self._at_least = own, at_least
        self._prefilter = prefilter or prefilter_for(len(self.rows), at_least)
        self.portion: int = block or self._prefilter.block
        self._cut = at_least - self._prefilter.margin(own.vectors.shape[1])
        self._kept, self._kept_count = np.zeros(0, np.int32), 0
        self._kept_prepared: Any = None

    def keep(self, vectors: np.ndarray) -> None:
        """Compare what is asked about from now on with these vectors, too."""
        if self._kept_prepared is None:
            width = self._own.vectors.shape[1]
            self._kept = np.empty(len(self.rows), np.int32)
            self._kept_prepared = self._prefilter.empty(len(self.rows), width)
        end = self._kept_count + len(vectors)
        self._kept[self._kept_count : end] = vectors
        self._kept_prepared[self._kept_count : end] = self._prepare(vectors)
        self._kept_count = end

    def among(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours that vectors have among themselves, or `None` above the budget."""
        found = self.pairs(asked, budget, kept=False)
        return None if found is None else neighbours_of(self.rows, found)

    def near(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours of vectors among themselves and the kept ones, or `None`."""
        found = self.pairs(asked, budget)
        return None if found is None else neighbours_of(self.rows, found)

    def pairs(
        self,
        asked: np.ndarray,
        budget: int | None = None,
        *,
        among: bool = True,
        kept: bool = True,
    ) -> ClosePairs | None:
        """Return the pairs of vectors (left) among themselves and with kept ones (right).

        Those among themselves have their left below their right where `asked` ascends.
        """
        asked, ready, block = asked.astype(np.int32), self._prepare(asked), self.portion

        def tasks() -> Iterator[tuple[int, int, np.ndarray, Any]]:
            for a in range(0, len(asked), block):
                for b in range(0, self._kept_count if kept else 0, block):
                    yield a, b, self._kept, self._kept_prepared
                for b in range(a, len(asked) if among else 0, block):
                    yield a, b, asked, ready

        def close(task: tuple[int, int, np.ndarray, Any]) -> ClosePairs:
            a, b, others, theirs = task
            end = min(b + block, len(asked) if others is asked else self._kept_count)
            left, right = self._prefilter.reaching(ready[a : a + block], theirs[b:end], self._cut)
            if others is asked and a == b:
                upper = left < right
                left, right = left[upper], right[upper]
            left, right = asked[left + a], others[right + b]
            cosines = self._own.cosines(self.rows[left], self.rows[right])
            enough = cosines >= self._at_least
            return ClosePairs(left[enough], right[enough], cosines[enough])

        found, count = [ClosePairs(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))], 0
        for wave in in_waves(self._prefilter, close, tasks(), _WAVE):
            found += wave
            count += sum(len(pairs.left) for pairs in wave)
            if budget is not None and count * BYTES_PER_PAIR > budget:
                return None
        return ClosePairs(*map(np.concatenate, zip(*found, strict=True)))

    def _prepare(self, vectors: np.ndarray) -> Any:
        return prepared(self._prefilter, self._own, self.rows[vectors])


def all_neighbours(source: PairSource, budget: int | None = None) -> Neighbours | None:
    """Return the neighbours of all vectors of a source, or `None` above the budget."""
    return source.among(np.arange(len(source.rows)), budget)


def neighbours_of(rows: np.ndarray, pairs: ClosePairs) -> Neighbours:
    """Return pairs as the neighbours of both; ascending where the pairs are, left below right."""
    left, right, cosines = pairs
    sizes = np.bincount(left, minlength=len(rows)) + np.bincount(right, minlength=len(rows))
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    others, values = np.empty(2 * len(left), np.int32), np.empty(2 * len(left))
    _fill(left, right, cosines, starts[:-1].copy(), others, values)
    return Neighbours(rows, starts, others, values)


def closest_other(
    every: UnitVectors,
    count: int,
    at_least: float,
    *,
    block: int | None = None,
    prefilter: Prefilter | None = None,
) -> NearestKept:
    """Find for each of the first `count` rows the closest of those behind them.

    The partner is a row of the matrix, the first one on a tie, or -1 where none has a cosine of
    `at_least`. Rows of zeros take no part. Only the best of each row is held: 16 bytes a row,
    however many others lie close to it.
    """
    asked = np.flatnonzero(every.lengths[:count] > 0)
    asked = asked[every.first[asked] == asked]
    others = count + np.flatnonzero(every.lengths[count:] > 0)
    rows = np.concatenate([asked, others])
    source = AllPairs(every, at_least, rows=rows, block=block, prefilter=prefilter)
    source.keep(np.arange(len(asked), len(rows)))
    partner, cosine = np.full(len(asked), -1, np.int64), np.full(len(asked), np.nan)
    for start in range(0, len(asked), source.portion):
        some = np.arange(start, min(start + source.portion, len(asked)))
        pairs = source.pairs(some, among=False)
        assert pairs is not None, "a search without a budget finds an answer"
        hold_closest(*pairs, partner, cosine)
    best, score = np.full(count, -1, np.int64), np.full(count, np.nan)
    best[asked], score[asked] = np.where(partner < 0, -1, rows[partner]), cosine
    # Equal rows have the same closest one.
    first = every.first[:count]
    return NearestKept(best[first], score[first])


@njit(nogil=True, cache=True)
def hold_closest(
    left: np.ndarray,
    right: np.ndarray,
    cosines: np.ndarray,
    partner: np.ndarray,
    cosine: np.ndarray,
) -> None:
    """Hold for each left the closest right so far, the first on a tie, in whatever order."""
    for pair in range(len(left)):
        own, other = left[pair], right[pair]
        tie = cosines[pair] == cosine[own] and other < partner[own]
        if partner[own] < 0 or cosines[pair] > cosine[own] or tie:
            partner[own], cosine[own] = other, cosines[pair]


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
