"""Spherical k-means: clusters of directions, the same ones on every machine.

Dhillon and Modha 2001, doi 10.1023/A:1007612920971: a line belongs to the centre with the largest
cosine, a centre is the direction of the sum of its lines. Seeds are drawn as in k-means++ (Arthur
and Vassilvitskii 2007) from a generator of its own. A float32 product finds the candidates of a
line; where more than one is within its error, float64 decides. Sums are float64 in the order of
lines. It costs 16 bytes a line and a float32 copy of a block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.cover import Cover, margin_of
from curate.kernels.directions import LANES, Directions, cosine_of, cosines_between, unit

ROUNDS = 50
_BLOCK = 4096


class Clusters(NamedTuple):
    """The cluster of each line (-1: a line of zeros), its cosine with the centre, the centres."""

    cluster: np.ndarray
    cosine: np.ndarray
    centres: np.ndarray


def spherical_clusters(
    directions: Directions, count: int, seed: int, rounds: int = ROUNDS
) -> Clusters:
    """Return at most `count` clusters: fewer where there are fewer different directions.

    Clusters are numbered by their first line. The rounds end when no line moves.
    """
    seeds = _seeds(directions, count, seed)
    centres = Directions.of(directions.vectors[seeds])
    cluster = np.full(len(directions), -1, np.int64)
    cosine = np.full(len(directions), np.nan)
    for _ in range(rounds):
        before = cluster.copy()
        _assign(directions, centres, cluster, cosine)
        if np.array_equal(before, cluster):
            break
        centres = Directions.of(_means(directions, cluster, centres.vectors))
    return _renumbered(Clusters(cluster, cosine, centres.vectors))


def closest_to_mean(directions: Directions) -> int:
    """Return the first line closest to the mean direction, or -1 where all lines are zeros.

    Where the directions cancel out, the mean has none, and it is the first line that has one.
    """
    if not (directions.lengths > 0).any():
        return -1
    cluster = np.where(directions.lengths > 0, 0, -1)
    mean = Directions.of(_means(directions, cluster, np.zeros((1, directions.vectors.shape[1]))))
    every = np.arange(len(directions))
    cosine = cosines_between(directions, every, mean, np.zeros(len(every), np.int64))
    if not mean.lengths[0]:
        cosine = np.where(directions.lengths > 0, 0.0, np.nan)
    return int(np.nanargmax(cosine))


def _seeds(directions: Directions, count: int, seed: int) -> np.ndarray:
    """Draw lines, each with a chance in proportion to its squared distance to those before it."""
    random = np.random.default_rng(seed)
    lines = np.flatnonzero(directions.lengths > 0)
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


def _assign(
    directions: Directions, centres: Directions, cluster: np.ndarray, cosine: np.ndarray
) -> None:
    if not len(centres):
        return
    targets = unit(centres.vectors, centres.lengths)
    margin = margin_of(targets.shape[1])
    for start in range(0, len(directions), _BLOCK):
        some = slice(start, min(start + _BLOCK, len(directions)))
        lines = unit(directions.vectors[some], directions.lengths[some])
        _closest(
            directions.vectors[some], directions.lengths[some], centres.vectors, centres.lengths,
            lines @ targets.T, margin, cluster[some], cosine[some],
        )  # fmt: skip


def _means(directions: Directions, cluster: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the sum of the unit vectors of each cluster, or the centre before where that is 0."""
    sums = np.zeros(before.shape)
    _add_up(directions.vectors, directions.lengths, cluster, sums)
    means = sums.astype(np.float32)
    return np.where(np.any(means != 0, axis=1)[:, None], means, before)


def _renumbered(found: Clusters) -> Clusters:
    real = found.cluster[found.cluster >= 0]
    names, first = np.unique(real, return_index=True)
    order = names[np.argsort(first, kind="stable")]
    number = np.full(len(found.centres) + 1, -1, np.int64)
    number[order] = np.arange(len(order))
    return Clusters(number[found.cluster], found.cosine, found.centres[order])


@njit(nogil=True, cache=True)
def _closest(
    vectors: np.ndarray,
    lengths: np.ndarray,
    centres: np.ndarray,
    centre_lengths: np.ndarray,
    products: np.ndarray,
    margin: float,
    cluster: np.ndarray,
    cosine: np.ndarray,
) -> None:
    lanes = np.empty(LANES)
    for line in range(len(vectors)):
        if lengths[line] == 0.0:
            continue
        floor = np.float64(products[line].max()) - 2.0 * margin
        nearest = -2.0
        for centre in range(len(centres)):
            if np.float64(products[line, centre]) < floor:
                continue
            found = cosine_of(vectors, lengths, line, centres, centre_lengths, centre, lanes)
            if found > nearest:
                nearest = found
                cluster[line] = centre
        cosine[line] = nearest


@njit(nogil=True, cache=True)
def _add_up(vectors: np.ndarray, lengths: np.ndarray, cluster: np.ndarray, sums: np.ndarray) -> Any:
    for line in range(len(vectors)):
        if cluster[line] >= 0:
            own, length = sums[cluster[line]], lengths[line]
            for place in range(len(own)):
                own[place] += np.float64(vectors[line, place]) / length
