"""Spherical k-means: centroids on the unit sphere, the same ones on every machine.

A fast float32 product names the centroids that may be the closest ones, their float64 cosines
decide, and sums are taken in float64 in the order of the lines. So neither the BLAS nor the number
of threads moves a centroid. Starting points are evenly spaced lines: there is nothing to seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.cosine_screen import FloatScreen
from curate.kernels.directions import LANES, Directions, _dot, unit

_BLOCK = 4096  # lines of products with all centroids held at a time


def spherical_means(own: Directions, lines: np.ndarray, count: int, *, rounds: int) -> Directions:
    """Return `count` centroids (at most a line each) of the vectors at `lines`.

    A centroid that loses all its lines stays where it is; after `rounds`, or when no line moves,
    it is done.
    """
    count = min(count, len(lines))
    start = lines[np.linspace(0, len(lines) - 1, count).astype(np.int64)]
    centroids = Directions.of(unit(own.vectors[start], own.lengths[start]))
    home = np.full(len(lines), -1, np.int32)
    for _ in range(rounds):
        before, home = home, closest_centroids(own, lines, centroids, 1)[:, 0]
        if np.array_equal(before, home):
            break
        sums = centroids.vectors.astype(np.float64)
        _add_up(own.vectors, own.lengths, lines, home, sums)
        lengths = np.sqrt(np.array([np.add.accumulate(line * line)[-1] for line in sums]))
        centroids = Directions.of(unit(sums, lengths))
    return centroids


def closest_centroids(
    own: Directions, lines: np.ndarray, centroids: Directions, most: int
) -> np.ndarray:
    """Return the `most` closest centroids of every line, the closest first (the first on a tie)."""
    most = min(most, len(centroids))
    out = np.empty((len(lines), most), np.int32)
    screen = FloatScreen()
    margin = np.float32(2 * screen.margin(own.vectors.shape[1]))
    directions = screen.prepare(centroids.vectors, centroids.lengths)

    def choose(start: int) -> None:
        some = lines[start : start + _BLOCK]
        fast = screen.prepare(own.vectors[some], own.lengths[some]) @ directions.T
        fast[:, centroids.lengths == 0] = -2  # no direction, no closeness
        place = out[start : start + _BLOCK]
        _choose(fast, margin, own.vectors, some, centroids.vectors, centroids.lengths, place)

    with screen.workers() as pool:
        list(pool.map(choose, range(0, len(lines), _BLOCK)))
    return out


@njit(nogil=True, cache=True)
def _add_up(
    vectors: np.ndarray,
    lengths: np.ndarray,
    lines: np.ndarray,
    home: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Replace each sum by that of its own lines' directions, if it has any."""
    met = np.zeros(len(sums), np.bool_)
    for place in range(len(lines)):
        total, line = sums[home[place]], lines[place]
        if not met[home[place]]:
            met[home[place]] = True
            total[:] = 0.0
        for k in range(len(total)):
            total[k] += vectors[line, k] / lengths[line]


@njit(nogil=True, cache=True)
def _hold_largest(entries: np.ndarray, best: np.ndarray) -> None:
    """Leave the largest of `entries` in `best`, the smallest of them first."""
    for value in entries:
        if value > best[0]:
            at = 0
            while at + 1 < len(best) and best[at + 1] < value:
                best[at] = best[at + 1]
                at += 1
            best[at] = value


@njit(nogil=True, cache=True)
def _choose(
    fast: np.ndarray,
    margin: Any,
    vectors: np.ndarray,
    lines: np.ndarray,
    centroids: np.ndarray,
    lengths: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write down the closest centroids by float64 among those that `fast` cannot tell apart."""
    most = out.shape[1]
    best = np.empty(most, np.float32)
    lanes = np.empty(LANES)
    for line in range(len(fast)):
        entries = fast[line]
        best[:] = -2
        _hold_largest(entries, best)
        named = np.flatnonzero(entries >= best[0] - margin)
        if len(named) == 1:
            out[line, 0] = named[0]
            continue
        cosines = np.empty(len(named))
        for k in range(len(named)):
            length = lengths[named[k]]
            dot = _dot(vectors[lines[line]], centroids[named[k]], lanes)
            cosines[k] = dot / length if length > 0 else -np.inf
        order = np.argsort(-cosines, kind="mergesort")
        for k in range(most):
            out[line, k] = named[order[k]]
