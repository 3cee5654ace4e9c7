"""Approximate search for close pairs (IVF), with measured recall.

Every vector joins the list of its closest centroid and is compared with the members of the `PROBES`
lists closest to it, whatever their number: no pair is lost because a group is large, as with the
k nearest of an index. A pair is found if either of its vectors probes the other's list. All
choices are decided in float64 (`spherical_kmeans`), so the lists, and the pairs that are
found, are the same on every machine. Time grows as n^1.5, where all pairs take n^2.

What is multiplied is a copy of the vectors. One that would take more than a quarter of the memory
is never held as a whole: the members of some lists at a time meet all vectors that probe those
lists, in portions that are prepared anew each time. The pairs are the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.vectors.close_pairs import BYTES_PER_PAIR, ClosePairs, Neighbours, neighbours_of
from curate.kernels.vectors.prefilter import Prefilter, in_waves, prefilter_for, prepared
from curate.kernels.vectors.spherical_kmeans import closest_centres, spherical_means
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.system.posix import usable_memory

PROBES = 16
_LISTS_PER_ROOT = 2  # lists = 2 sqrt(n)
_SAMPLED, _ROUNDS = 64, 6  # vectors per list that centroids are made of, and how often
_ASKED, _MEMBERS = 2048, 1024  # rows and columns of one product
_WAVE = 16  # products between two looks at the budget
# Prepared vectors may take this share of the memory there is, and always this much.
READY_SHARE, READY_BYTES = 0.25, 512 << 20
SAMPLE = 1000  # vectors whose pairs are counted by an exact search


class Recall(NamedTuple):
    """The true pairs of a sample of vectors: their cosines, and whether the index found them."""

    cosines: np.ndarray
    found: np.ndarray

    def describe(self, at_least: float) -> str:
        """Say in words how many true pairs from `at_least` on were found."""
        close = self.cosines >= at_least
        if not close.any():
            return f"no pair at {at_least:g} in the sample"
        share = self.found[close].mean()
        return f"recall {share:.5f} of {int(close.sum()):,} pairs at {at_least:g}"


class IVFIndex:
    """The distinct vectors in lists, as a source of pairs with a cosine of `at_least`."""

    portion = None

    def __init__(
        self, own: UnitVectors, at_least: float, *, prefilter: Prefilter | None = None
    ) -> None:
        """Form the lists, and choose those that each vector probes, its own first."""
        self.rows, self._own, self._at_least = own.distinct(), own, at_least
        self._prefilter = prefilter or prefilter_for(len(self.rows), at_least)
        self._cut = at_least - self._prefilter.margin(own.vectors.shape[1])
        each = int(self._prefilter.empty(1, own.vectors.shape[1]).nbytes)
        most = max(READY_BYTES, int(READY_SHARE * (usable_memory() or 0))) // max(1, each)
        whole = len(self.rows) <= most
        self._ready = prepared(self._prefilter, own, self.rows) if whole else None
        # Members of lists and those that probe them, while as many are in work from before.
        self._portion = max(1, most // 4)
        self._probes = _probes(own, self.rows)
        self._kept: list[np.ndarray] = [np.zeros(0, np.int64)]

    def keep(self, vectors: np.ndarray) -> None:
        """Compare what is asked about from now on with these vectors, too."""
        self._kept.append(vectors)

    def among(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours that vectors have among themselves, or `None` above the budget."""
        return self._search(asked, self._kept[0], budget)

    def near(self, asked: np.ndarray, budget: int | None = None) -> Neighbours | None:
        """Return the neighbours of vectors among themselves and the kept ones, or `None`."""
        return self._search(asked, np.concatenate(self._kept), budget)

    def finds(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell of pairs of vectors whether one of them probes the other's list."""
        one, other = self._probes[left], self._probes[right]
        found: np.ndarray = (one == other[:, :1]).any(1) | (other == one[:, :1]).any(1)
        return found

    def recall(self) -> Recall:
        """Search exactly for the pairs of a sample of the vectors, and tell which are found."""
        count = len(self.rows)
        asked = np.arange(0, count, max(1, count // SAMPLE))[:SAMPLE]
        queries = prepared(self._prefilter, self._own, self.rows[asked])

        def search(start: int) -> tuple[np.ndarray, np.ndarray]:
            ready, some = self._held(np.arange(start, min(start + _ASKED, count)))
            left, right = self._prefilter.reaching(queries, ready[some], self._cut)
            return asked[left], right.astype(np.int64) + start

        parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for wave in in_waves(self._prefilter, search, iter(range(0, count, _ASKED)), _WAVE):
            parts += wave
        left, right = (np.concatenate(sides) for sides in zip(*parts, strict=True))
        cosines = self._own.cosines(self.rows[left], self.rows[right])
        true = (left != right) & (cosines >= self._at_least)
        return Recall(cosines[true], self.finds(left[true], right[true]))

    def _search(self, asked: np.ndarray, kept: np.ndarray, budget: int | None) -> Neighbours | None:
        every = np.concatenate([asked, kept])
        tasks = itertools.chain(self._tasks(asked, every), self._tasks(kept, asked))
        found, count = [np.zeros(0, np.int64)], 0
        most = math.inf if budget is None else budget // BYTES_PER_PAIR
        for wave in in_waves(self._prefilter, self._close, tasks, _WAVE):
            found += wave
            count += sum(map(len, wave))
            # A pair is found at most twice: from both its vectors.
            if count > 2 * most:
                return None
        keys = np.unique(np.concatenate(found))
        if len(keys) > most:
            return None
        left, right = (part.astype(np.int32) for part in np.divmod(keys, len(self.rows) or 1))
        cosines = self._own.cosines(self.rows[left], self.rows[right])
        return neighbours_of(self.rows, ClosePairs(left, right, cosines))

    def _held(self, vectors: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return prepared vectors, and the places of `vectors` among them."""
        if self._ready is not None:
            return self._ready, vectors
        return prepared(self._prefilter, self._own, self.rows[vectors]), np.arange(len(vectors))

    def _tasks(self, asking: np.ndarray, members: np.ndarray) -> Iterator[_Product]:
        """Yield products of bounded size: a list, vectors that probe it, members of it."""
        count, whole = int(self._probes.max(initial=-1)) + 1, self._ready is not None
        by_list = members if whole else members[_grouped(self._probes[members, 0], count)[0]]
        for some in _pieces(by_list, len(by_list) if whole else self._portion):
            if not whole:
                some = np.sort(some)  # the order in which a mapped file is best read
            ready, places = self._held(some)
            whom, own = _grouped(self._probes[some, 0], count)
            lists = [number for number, at in enumerate(own) if at.start < at.stop]
            for few in _pieces(asking, len(asking) if whole else self._portion):
                asking_ready, asking_places = self._held(few)
                who, theirs = _grouped(self._probes[few], count)
                for number in lists:
                    left = who[theirs[number]] // self._probes.shape[1]
                    for a, b in itertools.product(
                        _pieces(left, _ASKED), _pieces(whom[own[number]], _MEMBERS)
                    ):
                        yield _Product(
                            number, few[a], some[b],
                            asking_ready, asking_places[a], ready, places[b],
                        )  # fmt: skip

    def _close(self, task: _Product) -> np.ndarray:
        """Return the keys of the close pairs of two groups, the lower vector first."""
        asking, members = task.left[task.left_places], task.right[task.right_places]
        left, right = self._prefilter.reaching(asking, members, self._cut)
        left, right = task.asking[left], task.members[right]
        # Two members of one list meet twice here; once is enough.
        once = (left < right) | (self._probes[left, 0] != task.number)
        left, right = left[once], right[once]
        enough = self._own.cosines(self.rows[left], self.rows[right]) >= self._at_least
        left, right = left[enough], right[enough]
        low, high = np.minimum(left, right), np.maximum(left, right)
        keys: np.ndarray = low * len(self.rows) + high
        return keys


class _Product(NamedTuple):
    """Vectors that probe a list, members of it, and where both are prepared."""

    number: int
    asking: np.ndarray
    members: np.ndarray
    left: Any
    left_places: np.ndarray
    right: Any
    right_places: np.ndarray


def _pieces(values: np.ndarray, size: int) -> list[np.ndarray]:
    """Return an array in pieces of at most `size`, and at least 1."""
    size = max(1, size)
    return [values[start : start + size] for start in range(0, len(values), size)]


def _probes(own: UnitVectors, rows: np.ndarray) -> np.ndarray:
    """Return the lists that each vector probes, its own first."""
    if not len(rows):
        return np.zeros((0, 1), np.int64)
    count = max(1, round(_LISTS_PER_ROOT * math.sqrt(len(rows))))
    sample = rows[:: max(1, len(rows) // (_SAMPLED * count))]
    centroids = spherical_means(own, sample, count, rounds=_ROUNDS)
    small = np.int16 if count <= np.iinfo(np.int16).max else np.int32
    return closest_centres(own, rows, centroids, PROBES).astype(small)


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
