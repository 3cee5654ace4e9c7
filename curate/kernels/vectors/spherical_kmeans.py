"""Spherical k-means: clusters of directions, the same ones on every machine.

Dhillon and Modha 2001, doi 10.1023/A:1007612920971: a line belongs to the centre with the largest
cosine, a centre is the direction of the sum of its lines. A float32 product names the centres that
may be the closest ones, and float64 decides between them; sums are float64 in the order of lines.
So neither the BLAS nor the number of threads moves a centre. It costs 12 bytes a line, and blocks
of products with all centres.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.coverage import Cover
from curate.kernels.vectors.low_precision import Float32Prefilter
from curate.kernels.vectors.unit_vectors import LANES, UnitVectors, cosine_of, cosines_between

ROUNDS = 50
_BLOCK = 1024  # lines of products with all centres held at a time, by each thread


class Clusters(NamedTuple):
    """The cluster of each line (-1: a line of zeros), its cosine with the centre, the centres."""

    cluster: np.ndarray
    cosine: np.ndarray
    centres: np.ndarray


def spherical_clusters(
    directions: UnitVectors, count: int, seed: int, rounds: int = ROUNDS
) -> Clusters:
    """Return at most `count` clusters: fewer where there are fewer different directions.

    The first centres are lines drawn as in k-means++ (Arthur and Vassilvitskii 2007) from a
    generator of its own. Clusters are numbered by their first line.
    """
    lines = np.flatnonzero(directions.lengths > 0)
    seeds = _seeds(directions, lines, count, seed)
    cluster, cosine = np.full(len(directions), -1, np.int64), np.full(len(directions), np.nan)
    centres = UnitVectors.of(directions.vectors[seeds])
    if len(seeds):
        centres = _settled(directions, lines, centres, rounds)
        cluster[lines] = closest_centres(directions, lines, centres, 1)[:, 0]
        cosine[lines] = cosines_between(directions, lines, centres, cluster[lines])
    return _renumbered(Clusters(cluster, cosine, centres.vectors))


def spherical_means(own: UnitVectors, lines: np.ndarray, count: int, *, rounds: int) -> UnitVectors:
    """Return `count` centres (at most a line each) of the vectors at `lines`.

    The first centres are evenly spaced lines: there is nothing to seed.
    """
    count = min(count, len(lines))
    start = lines[np.linspace(0, len(lines) - 1, count).astype(np.int64)]
    return _settled(own, lines, UnitVectors.of(own.vectors[start]), rounds)


def closest_centres(
    own: UnitVectors, lines: np.ndarray, centres: UnitVectors, most: int
) -> np.ndarray:
    """Return the `most` closest centres of every line, the closest first (the first on a tie)."""
    most = min(most, len(centres))
    out = np.empty((len(lines), most), np.int32)
    screen = Float32Prefilter()
    margin = np.float32(2 * screen.margin(own.vectors.shape[1]))
    targets = screen.prepare(centres.vectors, centres.lengths)

    def choose(start: int) -> None:
        some = lines[start : start + _BLOCK]
        products = screen.prepare(own.vectors[some], own.lengths[some]) @ targets.T
        products[:, centres.lengths == 0] = -2  # no direction, no closeness
        _choose(
            products, margin, own.vectors, own.lengths, some, centres.vectors, centres.lengths,
            out[start : start + _BLOCK],
        )  # fmt: skip

    with screen.workers() as pool:
        list(pool.map(choose, range(0, len(lines), _BLOCK)))
    return out


def closest_to_mean(directions: UnitVectors) -> int:
    """Return the first line closest to the mean direction, or -1 where all lines are zeros.

    Where the directions cancel out, the mean has none, and it is the first line that has one.
    """
    lines = np.flatnonzero(directions.lengths > 0)
    if not len(lines):
        return -1
    nowhere = UnitVectors.of(np.zeros((1, directions.vectors.shape[1])))
    all_in_one = np.zeros(len(lines), np.int32)
    mean = _means(directions, lines, all_in_one, nowhere)
    if not mean.lengths[0]:
        return int(lines[0])
    return int(lines[np.argmax(cosines_between(directions, lines, mean, all_in_one))])


def _settled(own: UnitVectors, lines: np.ndarray, centres: UnitVectors, rounds: int) -> UnitVectors:
    """Return the centres when no line moves any more, or after so many rounds."""
    home = np.full(len(lines), -1, np.int32)
    for _ in range(rounds):
        before, home = home, closest_centres(own, lines, centres, 1)[:, 0]
        if np.array_equal(before, home):
            break
        centres = _means(own, lines, home, centres)
    return centres


def _means(
    own: UnitVectors, lines: np.ndarray, home: np.ndarray, before: UnitVectors
) -> UnitVectors:
    """Return the sum of the directions of each centre's lines, or the centre `before` where 0."""
    sums = np.zeros(before.vectors.shape)
    _add_up(own.vectors, own.lengths, lines, home, sums)
    means = sums.astype(np.float32)
    lost = ~means.any(axis=1)
    means[lost] = before.vectors[lost]
    return UnitVectors.of(means)


def _seeds(directions: UnitVectors, lines: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw lines, each with a chance in proportion to its squared distance to those before it."""
    random = np.random.default_rng(seed)
    if not len(lines) or not count:
        return np.empty(0, np.int64)
    cover = Cover(directions)
    cover.add(int(lines[random.integers(len(lines))]))
    while len(cover.chosen) < count:
        chances = np.cumsum(np.maximum(0.0, 2.0 - 2.0 * cover.cosine[lines]))
        if not chances[-1] > 0:
            break
        place = np.searchsorted(chances, random.random() * chances[-1], side="right")
        cover.add(int(lines[min(int(place), len(lines) - 1)]))
    return np.array(cover.chosen, np.int64)


def _renumbered(found: Clusters) -> Clusters:
    real = found.cluster[found.cluster >= 0]
    names, first = np.unique(real, return_index=True)
    order = names[np.argsort(first, kind="stable")]
    number = np.full(len(found.centres) + 1, -1, np.int64)
    number[order] = np.arange(len(order))
    return Clusters(number[found.cluster], found.cosine, found.centres[order])


@njit(nogil=True, cache=True)
def _add_up(
    vectors: np.ndarray, lengths: np.ndarray, lines: np.ndarray, home: np.ndarray, sums: np.ndarray
) -> None:
    for place in range(len(lines)):
        line, total = lines[place], sums[home[place]]
        for k in range(len(total)):
            total[k] += np.float64(vectors[line, k]) / lengths[line]


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
    lines: np.ndarray,
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
                    vectors, lengths, lines[place], centres, centre_lengths, named[k], lanes
                )
        order = np.argsort(-cosines, kind="mergesort")
        for k in range(most):
            out[place, k] = named[order[k]]
