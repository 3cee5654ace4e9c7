"""SemDeDup's rule inside clusters: whoever is too close to any line before it is removed.

Abbas et al. 2023, arXiv 2303.09540, section 3 and the authors' code: the lines of a cluster stand
in one order; line j is removed if its largest cosine with lines i < j is above 1 - epsilon, whether
those are removed themselves or not. So chains go further than a walk along kept lines would, and
duplicates in different clusters stay. All cosines are float64; a screen only says which to take.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.low_precision import Prefilter, prepared, screen_for
from curate.kernels.vectors.unit_vectors import UnitVectors


class Removed(NamedTuple):
    """For each line removed the kept line at the end of its chain (-1: not removed).

    `cosine` is the largest with any line before it, `links` the number of steps to the kept one.
    """

    partner: np.ndarray
    cosine: np.ndarray
    links: np.ndarray


def removed_in_clusters(
    own: UnitVectors, cluster: np.ndarray, order: np.ndarray, epsilon: float, *, block: int = 1024
) -> Removed:
    """Apply the rule to every cluster, its lines taken in `order`; cluster -1 takes no part."""
    before, cosine = np.full(len(own), -1, np.int64), np.full(len(own), np.nan)
    screen = screen_for(len(own), 1 - epsilon)
    placed = order[np.argsort(cluster[order], kind="stable")]
    names, starts = np.unique(cluster[placed], return_index=True)
    bounds = itertools.pairwise([*starts.tolist(), len(placed)])
    with screen.workers() as pool:
        for name, (start, end) in zip(names.tolist(), bounds, strict=True):
            if name >= 0:
                lines = placed[start:end]
                _closest_before(own, lines, 1 - epsilon, screen, pool, block, before, cosine)
    partner, links = before.copy(), np.zeros(len(own), np.int64)
    _follow(placed, partner, links)
    return Removed(partner, cosine, links)


def _closest_before(
    own: UnitVectors,
    lines: np.ndarray,
    above: float,
    screen: Prefilter,
    pool: Any,
    block: int,
    before: np.ndarray,
    cosine: np.ndarray,
) -> None:
    """Write down for each line of a cluster the closest one before it, if that is close enough."""
    ready = prepared(screen, own, lines)
    cut = above - screen.margin(own.vectors.shape[1])

    def search(task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b = task
        left, right = screen.reaching(ready[a : a + block], ready[b : b + block], cut)
        left, right = left + a, right + b
        left, right = left[left < right], right[left < right]
        return left, right, own.cosines(lines[left], lines[right])

    for b in range(0, len(lines), block):
        for left, right, cosines in pool.map(search, [(a, b) for a in range(0, b + 1, block)]):
            _take_closest(lines, left, right, cosines, above, before, cosine)


@njit(nogil=True, cache=True)
def _take_closest(
    lines: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    cosines: np.ndarray,
    above: float,
    before: np.ndarray,
    cosine: np.ndarray,
) -> None:
    """Hold the closest line before each, the first one on a tie; pairs come with `left` rising."""
    for pair in range(len(left)):
        line = lines[right[pair]]
        known = before[line] >= 0 and cosines[pair] <= cosine[line]
        if cosines[pair] > above and not known:
            before[line], cosine[line] = lines[left[pair]], cosines[pair]


@njit(nogil=True, cache=True)
def _follow(placed: np.ndarray, partner: np.ndarray, links: np.ndarray) -> None:
    """Replace each removed line's partner by the kept line at the end of the chain."""
    for line in placed:
        if partner[line] >= 0:
            links[line] = 1
            if partner[partner[line]] >= 0:
                links[line] += links[partner[line]]
                partner[line] = partner[partner[line]]
