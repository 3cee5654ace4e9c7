"""The closest vector of another dataset for each vector, exactly.

A screen names the pairs that may reach the threshold, their float64 cosines decide, and only the
best of each vector is held: 16 bytes a vector, however many others lie close to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.vectors.all_pairs import BLOCK
from curate.kernels.vectors.low_precision import Prefilter, prepared, screen_for
from curate.kernels.vectors.unit_vectors import UnitVectors


def closest_other(
    every: UnitVectors,
    count: int,
    at_least: float,
    *,
    block: int = BLOCK,
    screen: Prefilter | None = None,
) -> NearestKept:
    """Find for each of the first `count` lines the closest of those behind them.

    The partner is a line of the matrix, the first one on a tie, or -1 where none has a cosine of
    `at_least`. Lines of zeros take no part.
    """
    asked = np.flatnonzero(every.lengths[:count] > 0)
    asked = asked[every.first[asked] == asked]
    others = count + np.flatnonzero(every.lengths[count:] > 0)
    screen = screen or screen_for(len(asked) + len(others), at_least)
    cut = at_least - screen.margin(every.vectors.shape[1])
    partner, score = np.full(count, -1, np.int64), np.full(count, np.nan)

    def search(start: int) -> None:
        some = others[start : start + block]
        left, right = screen.reaching(queries, prepared(screen, every, some), cut)
        found.append((left, some[right]))

    with screen.workers() as pool:
        for at in range(0, len(asked), block):
            lines = asked[at : at + block]
            queries = prepared(screen, every, lines)
            found: list[Any] = []
            list(pool.map(search, range(0, len(others), block)))
            for left, right in found:
                cosines = every.cosines(lines[left], right)
                _take_best(lines[left], right, cosines, at_least, partner, score)
    # Equal lines have the same closest one.
    first = every.first[:count]
    return NearestKept(partner[first], score[first])


@njit(nogil=True, cache=True)
def _take_best(
    left: np.ndarray,
    right: np.ndarray,
    cosines: np.ndarray,
    at_least: float,
    partner: np.ndarray,
    score: np.ndarray,
) -> None:
    """Hold the closest of each line so far, in whatever order pairs come."""
    for pair in range(len(left)):
        line, cosine = left[pair], cosines[pair]
        if cosine < at_least:
            continue
        worse = partner[line] >= 0 and cosine < score[line]
        later = partner[line] >= 0 and cosine == score[line] and right[pair] > partner[line]
        if not worse and not later:
            partner[line], score[line] = right[pair], cosine
