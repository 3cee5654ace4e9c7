"""SemDeDup's rule inside clusters: a row is removed if it is too close to any row before it.

Abbas et al. 2023, arXiv 2303.09540, section 3 and the authors' code: the rows of a cluster have
one order; row j is removed if its largest cosine with rows i < j is above 1 - epsilon, whether
those are removed themselves or not. So chains go further than a walk along kept rows would, and
duplicates in different clusters stay. All cosines are float64.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.close_pairs import AllPairs, hold_closest
from curate.kernels.vectors.prefilter import prefilter_for
from curate.kernels.vectors.unit_vectors import UnitVectors


class Removed(NamedTuple):
    """For each row removed the kept row at the end of its chain (-1: not removed).

    `cosine` is the largest with any row before it, `links` the number of steps to the kept one.
    """

    partner: np.ndarray
    cosine: np.ndarray
    links: np.ndarray


def removed_in_clusters(
    own: UnitVectors,
    cluster: np.ndarray,
    order: np.ndarray,
    epsilon: float,
    *,
    block: int | None = None,
) -> Removed:
    """Apply the rule to every cluster, its rows taken in `order`; cluster -1 takes no part."""
    partner, cosine = np.full(len(own), -1, np.int64), np.full(len(own), np.nan)
    at_least = float(np.nextafter(1 - epsilon, 2.0))
    prefilter = prefilter_for(len(own), at_least)
    placed = order[np.argsort(cluster[order], kind="stable")]
    placed = placed[cluster[placed] >= 0]
    ends = np.flatnonzero(np.diff(cluster[placed])) + 1
    for start, end in itertools.pairwise([0, *ends.tolist(), len(placed)]):
        rows = placed[start:end]
        source = AllPairs(own, at_least, rows=rows, block=block, prefilter=prefilter)
        before, closest = np.full(len(rows), -1, np.int64), np.full(len(rows), np.nan)
        for first in range(0, len(rows), source.portion):
            some = np.arange(first, min(first + source.portion, len(rows)))
            pairs = source.pairs(some)
            assert pairs is not None, "a search without a budget finds an answer"
            one, other, cosines = pairs
            hold_closest(np.maximum(one, other), np.minimum(one, other), cosines, before, closest)
            source.keep(some)
        partner[rows], cosine[rows] = np.where(before < 0, -1, rows[before]), closest
    links = np.zeros(len(own), np.int64)
    _follow(placed, partner, links)
    return Removed(partner, cosine, links)


@njit(nogil=True, cache=True)
def _follow(placed: np.ndarray, partner: np.ndarray, links: np.ndarray) -> None:
    """Replace each removed row's partner by the kept row at the end of the chain."""
    for row in placed:
        if partner[row] >= 0:
            links[row] = 1
            if partner[partner[row]] >= 0:
                links[row] += links[partner[row]]
                partner[row] = partner[partner[row]]
