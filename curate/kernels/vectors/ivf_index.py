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
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.all_pairs import BYTES_PER_PAIR, Neighbours, both_ways
from curate.kernels.vectors.low_precision import Prefilter, prepared, screen_for
from curate.kernels.vectors.spherical_kmeans import closest_centres, spherical_means
from curate.kernels.vectors.unit_vectors import UnitVectors

PROBES = 16
_LISTS_PER_ROOT = 2  # lists = 2 sqrt(n)
_SAMPLED, _ROUNDS = 64, 6  # vectors per list that centroids are made of, and how often
_ASKED, _MEMBERS = 2048, 1024  # lines and columns of one product
_WAVE = 16  # products between two looks at the budget
SAMPLE = 1000  # vectors whose pairs are counted by an exact search

# Tells of pairs of vectors, by their numbers, whether a search found them.
WasFound = Callable[[np.ndarray, np.ndarray], np.ndarray]


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


class IVFIndex:
    """Distinct vectors in lists, and which lists each one looks into, its own first."""

    def __init__(self, own: UnitVectors, at_least: float, screen: Prefilter | None = None) -> None:
        """Form the lists; `at_least` is the cosine that will be searched for."""
        self.lines, self._own, self._at_least = own.distinct(), own, at_least
        self._screen = screen or screen_for(len(self.lines), at_least)
        self._cut = at_least - self._screen.margin(own.vectors.shape[1])
        self._ready = prepared(self._screen, own, self.lines)
        self._probes = _probes(own, self.lines)

    def reach(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell of pairs of vectors whether one of them looks into the other's list."""
        one, other = self._probes[left], self._probes[right]
        found: np.ndarray = (one == other[:, :1]).any(1) | (other == one[:, :1]).any(1)
        return found

    def near(
        self, asked: np.ndarray, known: np.ndarray, *, budget: int | None = None
    ) -> Neighbours | None:
        """Return the neighbours that vectors `asked` have among themselves and those `known`.

        Returns `None` where they would take more than `budget` bytes.
        """
        every = np.concatenate([asked, known])
        tasks = itertools.chain(self._tasks(asked, every), self._tasks(known, asked))
        keys = _different(self._screen, self._close, tasks, budget)
        if keys is None:
            return None
        left, right = (part.astype(np.int32) for part in np.divmod(keys, len(self.lines) or 1))
        cosines = self._own.cosines(self.lines[left], self.lines[right])
        return both_ways(self.lines, left, right, cosines)

    def _close(self, task: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the keys of the close pairs of two groups, the lower vector first."""
        number, asking, members = task
        left, right = self._screen.reaching(self._ready[asking], self._ready[members], self._cut)
        left, right = asking[left], members[right]
        # Two members of one list meet twice here; once is enough.
        once = (left < right) | (self._probes[left, 0] != number)
        left, right = left[once], right[once]
        enough = self._own.cosines(self.lines[left], self.lines[right]) >= self._at_least
        left, right = left[enough], right[enough]
        low, high = np.minimum(left, right), np.maximum(left, right)
        pairs: np.ndarray = low * len(self.lines) + high
        return pairs

    def _tasks(
        self, asking: np.ndarray, members: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield products of bounded size: a list, vectors that look into it, members of it."""
        count = int(self._probes.max(initial=-1)) + 1
        who, theirs = _grouped(self._probes[asking], count)
        whom, own = _grouped(self._probes[members, 0], count)
        for number in range(count):
            some = asking[who[theirs[number]] // self._probes.shape[1]]
            others = members[whom[own[number]]]
            for a in range(0, len(some), _ASKED):
                for b in range(0, len(others), _MEMBERS):
                    yield number, some[a : a + _ASKED], others[b : b + _MEMBERS]


def indexed_neighbours(
    own: UnitVectors, at_least: float, *, budget: int | None = None, screen: Prefilter | None = None
) -> Neighbours | None:
    """Find nearly all pairs of distinct vectors with a cosine of `at_least`.

    Returns `None` where they would take more than `budget` bytes.
    """
    lists = IVFIndex(own, at_least, screen)
    none = np.zeros(0, np.int64)
    return lists.near(np.arange(len(lists.lines)), none, budget=budget)


def _probes(own: UnitVectors, lines: np.ndarray) -> np.ndarray:
    """Return the lists that each vector looks into, its own first."""
    if not len(lines):
        return np.zeros((0, 1), np.int64)
    count = max(1, round(_LISTS_PER_ROOT * math.sqrt(len(lines))))
    sample = lines[:: max(1, len(lines) // (_SAMPLED * count))]
    centroids = spherical_means(own, sample, count, rounds=_ROUNDS)
    small = np.int16 if count <= np.iinfo(np.int16).max else np.int32
    return closest_centres(own, lines, centroids, PROBES).astype(small)


def _grouped(labels: np.ndarray, count: int) -> tuple[np.ndarray, list[slice]]:
    """Return the places of labels, those of one label together, and where each label has them."""
    ends = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(labels.ravel(), minlength=count), out=ends[1:])
    places = np.empty(labels.size, np.int32)
    _group(labels, ends[:-1].copy(), places)
    return places, [slice(start, end) for start, end in itertools.pairwise(ends.tolist())]


@njit(nogil=True, cache=True)
def _group(labels: np.ndarray, ends: np.ndarray, places: np.ndarray) -> None:
    for place in range(labels.size):
        label = labels.flat[place]
        places[ends[label]] = place
        ends[label] += 1


def _different(
    screen: Prefilter, work: Any, tasks: Iterator[Any], budget: int | None
) -> np.ndarray | None:
    """Return the sorted keys of all different pairs, or `None` above the budget."""
    found, count = [np.zeros(0, np.int64)], 0
    most = math.inf if budget is None else budget // BYTES_PER_PAIR
    with screen.workers() as pool:
        while wave := list(itertools.islice(tasks, _WAVE)):
            found += pool.map(work, wave)
            count += sum(map(len, found[-len(wave) :]))
            # A pair is found at most twice: from both its vectors.
            if count > 2 * most:
                return None
    keys = np.unique(np.concatenate(found))
    return keys if len(keys) <= most else None


def known_to(found: Neighbours) -> WasFound:
    """Return a function that looks up pairs among those that were found."""
    sizes = np.diff(found.starts)
    count = len(found.lines)
    known = np.repeat(np.arange(count), sizes) * count + found.others
    return lambda left, right: np.isin(left * count + right, known)


def measured_recall(
    own: UnitVectors, lines: np.ndarray, at_least: float, was_found: WasFound
) -> Recall:
    """Search exactly for the pairs of a sample of `lines`; `was_found` tells which are known."""
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
    return Recall(cosines[true], was_found(left[true], right[true]))
