"""Close pairs among very many vectors, by inverted lists: nearly all pairs, and how nearly is told.

Every vector joins the list of its closest centroid and is compared with the members of the `PROBES`
lists closest to it, whatever their number: no pair is lost because a group is large, as with the
k nearest of an index. A pair is found if either of its vectors looks into the other's list. All
choices are decided in float64 (`kernels.spherical`), so the lists, and the pairs that are
found, are the same on every machine. Time grows as n^1.5, where all pairs take n^2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from curate.kernels.cosine_join import BYTES_PER_PAIR, Neighbours, both_ways, neighbours
from curate.kernels.cosine_screen import Screen, prepared, screen_for
from curate.kernels.directions import Directions
from curate.kernels.spherical import closest_centres, spherical_means

PROBES = 16
_LISTS_PER_ROOT = 2  # lists = 2 sqrt(n)
_SAMPLED, _ROUNDS = 64, 6  # vectors per list that centroids are made of, and how often
_ASKED, _MEMBERS = 4096, 1024  # lines and columns of one product
_WAVE = 256
SAMPLE = 1000  # vectors whose pairs are counted by an exact search


class Recall(NamedTuple):
    """The true pairs of a sample of vectors: their cosines, and whether the index found them."""

    cosines: np.ndarray
    found: np.ndarray

    def told(self, at_least: float) -> str:
        """Say in words how many true pairs from `at_least` on were found."""
        close = self.cosines >= at_least
        if not close.any():
            return f"no pair at {at_least:g} in the sample"
        share = self.found[close].mean()
        return f"recall {share:.5f} of {int(close.sum()):,} pairs at {at_least:g}"


def indexed_neighbours(
    own: Directions, at_least: float, *, budget: int | None = None, screen: Screen | None = None
) -> Neighbours | None:
    """Find nearly all pairs of distinct vectors with a cosine of `at_least`.

    Returns `None` where they would take more than `budget` bytes.
    """
    lines = own.distinct()
    if not len(lines):
        return neighbours(own, at_least)
    screen = screen or screen_for(len(lines), at_least)
    probes = _probes(own, lines)
    ready = prepared(screen, own, lines)
    cut = at_least - screen.margin(own.vectors.shape[1])
    home, count = probes[:, 0], len(lines)

    def close(task: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
        number, asked, members = task
        left, right = screen.reaching(ready[asked], ready[members], cut)
        left, right = asked[left], members[right]
        # Two members of one list meet twice here; once is enough.
        once = (left < right) | (home[left] != number)
        left, right = left[once], right[once]
        enough = own.cosines(lines[left], lines[right]) >= at_least
        left, right = left[enough], right[enough]
        pairs: np.ndarray = np.minimum(left, right) * count + np.maximum(left, right)
        return pairs

    keys = _different(screen, close, _tasks(probes), budget)
    if keys is None:
        return None
    left, right = (part.astype(np.int32) for part in np.divmod(keys, count))
    return both_ways(lines, left, right, own.cosines(lines[left], lines[right]))


def _probes(own: Directions, lines: np.ndarray) -> np.ndarray:
    """Return the lists that each vector looks into, its own first."""
    count = max(1, round(_LISTS_PER_ROOT * math.sqrt(len(lines))))
    sample = lines[:: max(1, len(lines) // (_SAMPLED * count))]
    centroids = spherical_means(own, sample, count, rounds=_ROUNDS)
    return closest_centres(own, lines, centroids, PROBES)


def _different(
    screen: Screen, work: Any, tasks: Iterator[Any], budget: int | None
) -> np.ndarray | None:
    """Return the sorted keys of all different pairs, or `None` above the budget."""
    keys, most = np.zeros(0, np.int64), math.inf if budget is None else budget // BYTES_PER_PAIR
    with screen.workers() as pool:
        while wave := list(itertools.islice(tasks, _WAVE)):
            # A pair may be found from both its vectors: twice, and so at most twice `most`.
            keys = np.concatenate([keys, *pool.map(work, wave)])
            if len(keys) > most:
                keys = np.unique(keys)
                if len(keys) > most:
                    return None
    return np.unique(keys)


def _tasks(probes: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield products of bounded size: a list, vectors that look into it, and members of it."""
    flat = probes.ravel()
    asking = np.argsort(flat, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(flat))])
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        asked = asking[start:end] // probes.shape[1]
        members = asked[probes[asked, 0] == number]
        for a in range(0, len(asked), _ASKED):
            for b in range(0, len(members), _MEMBERS):
                yield number, asked[a : a + _ASKED], members[b : b + _MEMBERS]


def measured_recall(own: Directions, found: Neighbours, at_least: float) -> Recall:
    """Search exactly for the pairs of a sample of vectors, and look up which were found."""
    lines = found.lines
    asked = np.arange(0, len(lines), max(1, len(lines) // SAMPLE))[:SAMPLE]
    screen = screen_for(len(lines), at_least)
    queries = prepared(screen, own, lines[asked])
    cut = at_least - screen.margin(own.vectors.shape[1])

    def search(start: int) -> tuple[np.ndarray, np.ndarray]:
        some = lines[start : start + _ASKED]
        left, right = screen.reaching(queries, prepared(screen, own, some), cut)
        return asked[left], right.astype(np.int64) + start

    with screen.workers() as pool:
        parts = list(pool.map(search, range(0, len(lines), _ASKED)))
    none = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    left, right = (np.concatenate(sides) for sides in zip(none, *parts, strict=True))
    cosines = own.cosines(lines[left], lines[right])
    true = (left != right) & (cosines >= at_least)
    sizes = np.diff(found.starts)
    known = np.repeat(np.arange(len(lines)), sizes) * len(lines) + found.others
    return Recall(cosines[true], np.isin(left[true] * len(lines) + right[true], known))
