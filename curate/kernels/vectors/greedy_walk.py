"""Walk vectors by priority; keep each one that no kept one is too close to.

The verdicts come from stored neighbours, or, without them, from a search of every vector among
those kept before it. The search needs no memory for pairs: ten thousand vectors that lie close
together leave one kept vector, where they make fifty million pairs. Both give the same verdicts,
down to the last bit. So does a walk through an index in portions, each as large as its pairs fit
the memory, beside one through all the pairs that the index finds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.vectors.all_pairs import BLOCK, BYTES_PER_PAIR, Neighbours
from curate.kernels.vectors.ivf_index import IVFIndex
from curate.kernels.vectors.low_precision import Prefilter, prepared, screen_for
from curate.kernels.vectors.unit_vectors import UnitVectors

# More pairs than so many for each vector of a portion, and than so many at all, are too many.
_PAIRS_EACH, _FEW_PAIRS = 16, 1 << 18


def walk_neighbours(
    own: UnitVectors, found: Neighbours, order: np.ndarray, similarity: float
) -> NearestKept:
    """Walk lines in `order`; drop each that a line kept before it is `similarity` close to.

    The partner of a dropped line is the closest of those kept before it, the first line of the
    matrix on a tie. `found` must reach down to `similarity`.
    """
    walk = _Walk(own, found.lines)
    walk.through(order, walk.vector_of, found.starts, found.others, found.cosines, similarity)
    return walk.verdicts()


def walk_searching(
    own: UnitVectors,
    order: np.ndarray,
    similarity: float,
    *,
    block: int = BLOCK,
    screen: Prefilter | None = None,
) -> NearestKept:
    """Return the verdicts of `walk_neighbours` without stored neighbours."""
    lines = own.distinct()
    screen = screen or screen_for(len(lines), similarity)
    walk, kept = _Walk(own, lines), _Kept(own, lines, screen, similarity, block)
    order = order[walk.vector_of[order] >= 0]
    with screen.workers() as pool:
        for start in range(0, len(order), block):
            some = order[start : start + block]
            asked = np.unique(walk.vector_of[some])
            asked = asked[walk.kept[asked] < 0]
            starts, others, cosines = kept.close_to(asked, pool)
            place = np.full(len(own), -1, np.int64)
            place[some] = np.searchsorted(asked, walk.vector_of[some])
            walk.through(some, place, starts, others, cosines, similarity)
            kept.add(asked[walk.kept[asked] >= 0])
    return walk.verdicts()


def walk_indexed(
    own: UnitVectors, lists: IVFIndex, order: np.ndarray, similarity: float, *, budget: int
) -> NearestKept:
    """Return the verdicts of `walk_neighbours` on the pairs that `lists` find, in bounded memory.

    A portion is walked in halves where its pairs with kept vectors would take more than `budget`
    bytes, or where it has so many among itself that most of its vectors are going to be dropped by
    few: small portions find those few first. `lists` must search at `similarity`.
    """
    none = np.zeros(0, np.int64)
    walk = _Walk(own, lists.lines)
    portions = [order[walk.vector_of[order] >= 0]]
    while portions:
        some = portions.pop()
        asked = np.unique(walk.vector_of[some])
        asked, kept = asked[walk.kept[asked] < 0], np.flatnonzero(walk.kept >= 0)
        half = len(some) // 2
        room = min(budget, BYTES_PER_PAIR * max(_FEW_PAIRS, _PAIRS_EACH * len(asked)))
        found = lists.near(asked, none, budget=room if half else None)
        if found is not None and len(kept):
            found = lists.near(asked, kept, budget=budget if half else None)
        if found is None:
            portions += [some[half:], some[:half]]
        else:
            place = walk.vector_of
            walk.through(some, place, found.starts, found.others, found.cosines, similarity)
    return walk.verdicts()


class _Walk:
    """What is known on the way: which line is kept for a vector, and why a line was dropped."""

    def __init__(self, own: UnitVectors, lines: np.ndarray) -> None:
        number = np.full(len(own), -1, np.int64)
        number[lines] = np.arange(len(lines))
        self.vector_of = number[own.first]
        self.kept = np.full(len(lines), -1, np.int64)
        self._partner = np.full(len(own), -1, np.int64)
        self._similarity = np.full(len(own), np.nan)

    def through(
        self,
        order: np.ndarray,
        place: np.ndarray,
        starts: np.ndarray,
        others: np.ndarray,
        cosines: np.ndarray,
        similarity: float,
    ) -> None:
        """Decide on lines; the neighbours of a line stand at its `place` in `starts`."""
        _walk(
            np.asarray(order, np.int64), self.vector_of, place, starts, others, cosines,
            similarity, self.kept, self._partner, self._similarity,
        )  # fmt: skip

    def verdicts(self) -> NearestKept:
        """Return what was decided."""
        return NearestKept(self._partner, self._similarity)


class _Kept:
    """The kept vectors, prepared for the screen, and the search among them."""

    def __init__(
        self, own: UnitVectors, lines: np.ndarray, screen: Prefilter, similarity: float, block: int
    ) -> None:
        width = own.vectors.shape[1]
        self._own, self._lines, self._screen = own, lines, screen
        self._similarity, self._cut = similarity, similarity - screen.margin(width)
        self._block, self._count = block, 0
        self._prepared = screen.empty(len(lines), width)
        self._numbers = np.empty(len(lines), np.int32)

    def add(self, vectors: np.ndarray) -> None:
        """Take vectors that are kept from now on."""
        end = self._count + len(vectors)
        self._prepared[self._count : end] = self._prepare(vectors)
        self._numbers[self._count : end] = vectors
        self._count = end

    def close_to(self, asked: np.ndarray, pool: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the close ones of each vector asked for, among the kept and the asked ones."""
        queries, asked = self._prepare(asked), asked.astype(np.int32)

        def search(start: int) -> tuple[np.ndarray, np.ndarray]:
            some = slice(start, min(start + self._block, self._count))
            left, right = self._screen.reaching(queries, self._prepared[some], self._cut)
            return left, self._numbers[some][right]

        found = list(pool.map(search, range(0, self._count, self._block)))
        left, right = self._screen.reaching(queries, queries, self._cut)
        among = left != right
        found.append((left[among], asked[right[among]]))
        places, others = (np.concatenate(parts) for parts in zip(*found, strict=True))
        cosines = self._own.cosines(self._lines[asked[places]], self._lines[others])
        enough = np.flatnonzero(cosines >= self._similarity)
        enough = enough[np.argsort(places[enough], kind="stable")]
        starts = np.searchsorted(places[enough], np.arange(len(asked) + 1))
        return starts, others[enough], cosines[enough]

    def _prepare(self, vectors: np.ndarray) -> Any:
        return prepared(self._screen, self._own, self._lines[vectors])


@njit(nogil=True, cache=True)
def _walk(
    order: np.ndarray,
    vector_of: np.ndarray,
    place: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    cosines: np.ndarray,
    similarity: float,
    kept: np.ndarray,
    partner: np.ndarray,
    score: np.ndarray,
) -> None:
    for line in order:
        own = vector_of[line]
        if own < 0:
            continue
        if kept[own] >= 0:
            partner[line], score[line] = kept[own], 1.0
            continue
        best, closest = -1, -2.0
        for at in range(starts[place[line]], starts[place[line] + 1]):
            other = kept[others[at]]
            if other < 0 or cosines[at] < similarity or cosines[at] < closest:
                continue
            if cosines[at] > closest or other < best:
                best, closest = other, cosines[at]
        if best < 0:
            kept[own] = line
        else:
            partner[line], score[line] = best, closest
