"""The most similar set of another dataset for each set, by exact Jaccard similarity.

Sets that reach a threshold share one of the first |set| - ceil(t |set|) + 1 members of either in
any fixed order (see `kernels.sets.jaccard`). Here the order is "rarest among the others first", so
that members which no other set has come first: most sets have more of those than their prefix is
long, and are done without a look at any other set. The index costs some 30 bytes a member of the
others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.sets.jaccard import threshold_of


class _Others(NamedTuple):
    """The other sets (`values[starts[k]:starts[k + 1]]`), and which of them hold each member."""

    starts: np.ndarray
    values: np.ndarray
    members: np.ndarray
    ends: np.ndarray
    holders: np.ndarray

    @classmethod
    def of(cls, sets: pa.ChunkedArray) -> _Others:
        """Index sets by their members."""
        parts = [_flat(part) for part in sets.chunks]
        sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(starts) for starts, _ in parts)])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        values = np.concatenate([np.zeros(0, np.uint64), *(values for _, values in parts)])
        members, where, counts = np.unique(values, return_inverse=True, return_counts=True)
        holders = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(where, kind="stable")]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return cls(starts, values, members, ends, holders)


def closest_other(sets: pa.ChunkedArray, count: int, similarity: float) -> NearestKept:
    """Find for each of the first `count` sets the most similar of those behind them.

    Sets are lists of sorted uint64 without repeats. The partner is a place in `sets`, the first
    one on a tie, or -1 where none reaches `similarity`; empty sets have none.
    """
    threshold = threshold_of(similarity)
    others = _Others.of(sets.slice(count))
    partner, score = np.full(count, -1, np.int64), np.full(count, np.nan)
    seen = np.full(len(others.starts), -1, np.int64)
    start = 0
    for part in sets.slice(0, count).chunks:
        starts, values = _flat(part)
        end = start + len(part)
        _search(
            starts, values, others, seen, start,
            threshold.numerator, threshold.denominator, partner[start:end], score[start:end],
        )  # fmt: skip
        start = end
    partner[partner >= 0] += count
    return NearestKept(partner, score)


def _flat(part: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    starts = np.zeros(len(part) + 1, np.int64)
    np.cumsum(part.value_lengths().to_numpy(), out=starts[1:])
    return starts, part.flatten().to_numpy()


@njit(nogil=True, cache=True)
def _search(
    starts: np.ndarray,
    values: np.ndarray,
    others: _Others,
    seen: np.ndarray,
    base: int,
    top: int,
    bottom: int,
    partner: np.ndarray,
    score: np.ndarray,
) -> None:
    for line in range(len(starts) - 1):
        own = values[starts[line] : starts[line + 1]]
        if len(own):
            prefix = len(own) - (top * len(own) + bottom - 1) // bottom + 1
            known = _known(own, others, prefix)
            _closest(own, known, others, seen, base + line, top, bottom, partner, score, line)


@njit(nogil=True, cache=True)
def _known(own: np.ndarray, others: _Others, prefix: int) -> np.ndarray:
    """Return those of a set's prefix that another set has, as places in `members`."""
    found, count = np.empty(len(own), np.int64), 0
    for place in range(len(own)):
        at = np.searchsorted(others.members, own[place])
        if at < len(others.members) and others.members[at] == own[place]:
            found[count] = at
            count += 1
        elif place + 1 - count >= prefix:
            return found[:0]
    known = found[:count]
    held = others.ends[known + 1] - others.ends[known]
    rarest = np.argsort(held, kind="mergesort")
    return known[rarest[: prefix - (len(own) - count)]]


@njit(nogil=True, cache=True)
def _closest(
    own: np.ndarray,
    known: np.ndarray,
    others: _Others,
    seen: np.ndarray,
    mark: int,
    top: int,
    bottom: int,
    partner: np.ndarray,
    score: np.ndarray,
    line: int,
) -> None:
    """Verify every other set that holds one of the `known` members; write down the closest."""
    best, best_shared, best_union = -1, 0, 1
    for member in known:
        for at in range(others.ends[member], others.ends[member + 1]):
            other = others.holders[at]
            if seen[other] == mark:
                continue
            seen[other] = mark
            theirs = others.values[others.starts[other] : others.starts[other + 1]]
            if min(len(own), len(theirs)) * bottom < max(len(own), len(theirs)) * top:
                continue
            shared = _shared(own, theirs)
            union = len(own) + len(theirs) - shared
            if shared * bottom < union * top:
                continue
            ahead = shared * best_union - best_shared * union
            if best < 0 or ahead > 0 or (ahead == 0 and other < best):
                best, best_shared, best_union = other, shared, union
    if best >= 0:
        partner[line], score[line] = best, best_shared / best_union


@njit(nogil=True, cache=True)
def _shared(one: np.ndarray, other: np.ndarray) -> Any:
    """Count the members of both of two sorted sets."""
    a, b, count = 0, 0, 0
    while a < len(one) and b < len(other):
        if one[a] == other[b]:
            count += 1
        step = one[a] <= other[b]
        b += one[a] >= other[b]
        a += step
    return count
