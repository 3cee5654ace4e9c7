"""Spherical k-means: clusters of unit vectors, the same ones on every machine.

Dhillon and Modha 2001, doi 10.1023/A:1007612920971: a row belongs to the centre with the largest
cosine, a centre is the direction of the sum of its rows. A float32 product names the centres that
may be the closest ones, and float64 decides between them; sums are float64 in the order of rows.
So neither the BLAS nor the number of threads moves a centre. It costs 12 bytes a row, and blocks
of products with all centres.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.coverage import Cover
from curate.kernels.vectors.prefilter import Float32Products
from curate.kernels.vectors.unit_vectors import (
    LANES,
    UnitVectors,
    cosine_of,
    cosines_between,
    margin_of,
    unit,
)

ROUNDS = 50
_BLOCK = 1024  # rows of products with all centres held at a time, by each thread


class Clusters(NamedTuple):
    """The cluster of each row (-1: a row of zeros), its cosine with the centre, the centres."""

    cluster: np.ndarray
    cosine: np.ndarray
    centres: np.ndarray


def spherical_clusters(every: UnitVectors, count: int, seed: int, rounds: int = ROUNDS) -> Clusters:
    """Return at most `count` clusters: fewer where there are fewer different directions.

    The first centres are rows drawn as in k-means++ (Arthur and Vassilvitskii 2007) from a
    generator of its own. Clusters are numbered by their first row.
    """
    rows = np.flatnonzero(every.lengths > 0)
    seeds = _seeds(every, rows, count, seed)
    cluster, cosine = np.full(len(every), -1, np.int64), np.full(len(every), np.nan)
    centres = UnitVectors.of(every.vectors[seeds])
    if len(seeds):
        centres = _settled(every, rows, centres, rounds)
        cluster[rows] = closest_centres(every, rows, centres, 1)[:, 0]
        cosine[rows] = cosines_between(every, rows, centres, cluster[rows])
    names, first = np.unique(cluster[cluster >= 0], return_index=True)
    order = names[np.argsort(first, kind="stable")]
    number = np.full(len(centres.vectors) + 1, -1, np.int64)
    number[order] = np.arange(len(order))
    return Clusters(number[cluster], cosine, centres.vectors[order])


def spherical_means(own: UnitVectors, rows: np.ndarray, count: int, *, rounds: int) -> UnitVectors:
    """Return `count` centres (at most a row each) of the vectors at `rows`.

    The first centres are evenly spaced rows: there is nothing to seed.
    """
    count = min(count, len(rows))
    start = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    return _settled(own, rows, UnitVectors.of(own.vectors[start]), rounds)


def closest_centres(
    own: UnitVectors, rows: np.ndarray, centres: UnitVectors, most: int
) -> np.ndarray:
    """Return the `most` closest centres of every row, the closest first (the first on a tie)."""
    most = min(most, len(centres))
    out = np.empty((len(rows), most), np.int32)
    margin = np.float32(2 * margin_of(own.vectors.shape[1]))
    targets = unit(centres.vectors, centres.lengths)

    def choose(start: int) -> None:
        some = rows[start : start + _BLOCK]
        products = unit(own.vectors[some], own.lengths[some]) @ targets.T
        products[:, centres.lengths == 0] = -2  # no direction, no closeness
        _choose(
            products, margin, own.vectors, own.lengths, some, centres.vectors, centres.lengths,
            out[start : start + _BLOCK],
        )  # fmt: skip

    with Float32Products().workers() as pool:
        list(pool.map(choose, range(0, len(rows), _BLOCK)))
    return out


def closest_to_mean(every: UnitVectors) -> int:
    """Return the first row closest to the mean direction, or -1 where all rows are zeros.

    Where the directions cancel out, the mean has none, and it is the first row that has one.
    """
    rows = np.flatnonzero(every.lengths > 0)
    if not len(rows):
        return -1
    nowhere = UnitVectors.of(np.zeros((1, every.vectors.shape[1])))
    all_in_one = np.zeros(len(rows), np.int32)
    mean = _means(every, rows, all_in_one, nowhere)
    if not mean.lengths[0]:
        return int(rows[0])
    return int(rows[np.argmax(cosines_between(every, rows, mean, all_in_one))])


def _settled(own: UnitVectors, rows: np.ndarray, centres: UnitVectors, rounds: int) -> UnitVectors:
    """Return the centres when no row moves any more, or after so many rounds."""
    home = np.full(len(rows), -1, np.int32)
    for _ in range(rounds):
        before, home = home, closest_centres(own, rows, centres, 1)[:, 0]
        if np.array_equal(before, home):
            break
        centres = _means(own, rows, home, centres)
    return centres


def _means(
    own: UnitVectors, rows: np.ndarray, home: np.ndarray, before: UnitVectors
) -> UnitVectors:
    """Return the sum of the directions of each centre's rows, or the centre `before` where 0."""
    sums = np.zeros(before.vectors.shape)
    _add_up(own.vectors, own.lengths, rows, home, sums)
    means = sums.astype(np.float32)
    lost = ~means.any(axis=1)
    means[lost] = before.vectors[lost]
    return UnitVectors.of(means)


def _seeds(every: UnitVectors, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw rows, each with a chance in proportion to its squared distance to those before it."""
    random = np.random.default_rng(seed)
    if not len(rows) or not count:
        return np.empty(0, np.int64)
    cover = Cover(every)
    cover.add(int(rows[random.integers(len(rows))]))
    while len(cover.chosen) < count:
        chances = np.cumsum(np.maximum(0.0, 2.0 - 2.0 * cover.cosine[rows]))
        if not chances[-1] > 0:
            break
        place = np.searchsorted(chances, random.random() * chances[-1], side="right")
        cover.add(int(rows[min(int(place), len(rows) - 1)]))
    return np.array(cover.chosen, np.int64)


@njit(nogil=True, cache=True)
def _add_up(
    vectors: np.ndarray, lengths: np.ndarray, rows: np.ndarray, home: np.ndarray, sums: np.ndarray
) -> None:
    for place in range(len(rows)):
        row, total = rows[place], sums[home[place]]
        for k in range(len(total)):
            total[k] += np.float64(vectors[row, k]) / lengths[row]


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
    products: np.ndarray,
    margin: Any,
    vectors: np.ndarray,
    lengths: np.ndarray,
    rows: np.ndarray,
    centres: np.ndarray,
    centre_lengths: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write down the closest centres by float64 among those that `products` cannot tell apart."""
    most = out.shape[1]
    best, lanes = np.empty(most, np.float32), np.empty(LANES)
    for place in range(len(products)):
        best[:] = -2
        _hold_largest(products[place], best)
        named = np.flatnonzero(products[place] >= best[0] - margin)
        if len(named) == 1:
            out[place, 0] = named[0]
            continue
        cosines = np.full(len(named), -np.inf)
        for k in range(len(named)):
            if centre_lengths[named[k]] > 0:
                cosines[k] = cosine_of(
                    vectors, lengths, rows[place], centres, centre_lengths, named[k], lanes
                )
        order = np.argsort(-cosines, kind="mergesort")
        for k in range(most):
            out[place, k] = named[order[k]]
