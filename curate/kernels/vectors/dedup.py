"""Semantic deduplication of vectors: the search for close pairs, and the greedy walk over them.

Neighbours down to a floor are found once and kept in a memo; every threshold at or above the floor
is then decided from them. Below the floor, or where the neighbours of dense data would need too
much memory, the vectors are searched at the threshold itself, by the index if they are many, and a
remark says so. That search needs no memory for pairs: ten thousand vectors that lie close together
leave one kept vector, where they make fifty million pairs. All of them give the same verdicts on
the same pairs, down to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept, not_leaked
from curate.kernels.vectors.close_pairs import (
    BYTES_PER_PAIR,
    AllPairs,
    Neighbours,
    PairSource,
    all_neighbours,
    closest_other,
)
from curate.kernels.vectors.ivf_index import PROBES, SAMPLE, IVFIndex, Recall
from curate.kernels.vectors.prefilter import Choice, prefilter_for
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.step import Memo

# Neighbours may take this much memory, or an eighth of what the vectors take.
BUDGET = 256 << 20
# On two cores an exact search of so many takes half a minute in bfloat16, two in float32.
EXACT_UP_TO = 200_000
# More pairs than so many for each vector of a portion, and than so many at all, are too many.
_PAIRS_EACH, _FEW_PAIRS = 16, 1 << 18


class PairSearch(NamedTuple):
    """How close rows must be, down to where neighbours are kept, in what memo and memory."""

    similarity: float
    floor: float
    memo: Memo = lambda _, find: find()
    exact_up_to: int = EXACT_UP_TO
    budget: int | None = None
    prefilter: Choice = "auto"

    def source(self, own: UnitVectors, at_least: float) -> AllPairs | IVFIndex:
        """Return the search for pairs of `own`: exact, or by the index if they are many."""
        count = len(own.distinct())
        by = prefilter_for(count, at_least, self.prefilter)
        kind = AllPairs if count <= self.exact_up_to else IVFIndex
        return kind(own, at_least, prefilter=by)

    def closest_other(self, every: UnitVectors, count: int, at_least: float) -> NearestKept:
        """Return the closest row behind the first `count` for each of those."""
        by = prefilter_for(len(every), at_least, self.prefilter)
        return closest_other(every, count, at_least, prefilter=by)


class Kept(NamedTuple):
    """The verdicts, and what the reader of a report should know about how they came to be.

    `leaked` gives the rows that another dataset has, where there is one.
    """

    nearest: NearestKept
    leaked: NearestKept | None
    remarks: tuple[str, ...]


def nearest_kept(every: UnitVectors, order: np.ndarray, search: PairSearch) -> Kept:
    """Walk rows in `order`; drop each that one kept before it is close to.

    Rows of `every` behind the first `len(order)` belong to another dataset: a row that is close
    to one of those is dropped first.
    """
    own, leaked, count = every, None, len(order)
    similarity, floor = search.similarity, search.floor
    if len(every) > count:
        # The closest row of the other dataset for each row that is close to one.
        own = every.head(count)
        if similarity < floor:
            leaked = search.closest_other(every, count, similarity)
        else:
            key = every.digest("others", count, floor)
            others = search.memo(key, lambda: search.closest_other(every, count, floor))
            assert others is not None, "a search always finds an answer"
            partner, score = others
            close = score >= similarity
            leaked = NearestKept(np.where(close, partner, -1), np.where(close, score, np.nan))
    order = not_leaked(order, leaked)
    budget = max(BUDGET, own.vectors.nbytes // 8) if search.budget is None else search.budget
    if similarity < floor:
        why = f"similarity {similarity:g} is below floor {floor:g}: the vectors were searched again"
    else:
        found, remarks = _neighbours(own, search, budget)
        if found is not None:
            return Kept(greedy_walk(own, found, order, similarity), leaked, remarks)
        why = (
            f"neighbours down to floor {floor:g} would take more than {budget / 1e6:,.0f} MB: the "
            f"vectors were searched at similarity {similarity:g}, and another one will be searched "
            "for again"
        )
    source, remarks = search.source(own, similarity), (why,)
    if isinstance(source, IVFIndex):
        remarks = (why, _index_remark(source.recall(), len(source.rows), similarity))
    return Kept(greedy_walk(own, source, order, similarity, budget), leaked, remarks)


def _neighbours(
    own: UnitVectors, search: PairSearch, budget: int
) -> tuple[Neighbours | None, tuple[str, ...]]:
    """Return the neighbours down to the floor, and a remark where an index found them."""

    def find() -> Sequence[np.ndarray] | None:
        source = search.source(own, search.floor)
        found = all_neighbours(source, budget)
        if found is None or isinstance(source, AllPairs):
            return found
        return (*found, *source.recall())

    exact = len(own.distinct()) <= search.exact_up_to
    by = ("neighbours", search.floor) if exact else ("index", PROBES, search.floor)
    arrays = search.memo(own.digest(*by), find)
    if arrays is None:
        return None, ()
    found = Neighbours(*arrays[:4])
    if exact:
        return found, ()
    recall = Recall(*arrays[4:])
    return found, (_index_remark(recall, len(found.rows), search.floor, search.similarity),)


def _index_remark(recall: Recall, count: int, *cosines: float) -> str:
    described = "; ".join(recall.describe(cosine) for cosine in sorted(set(cosines)))
    asked = min(SAMPLE, count)
    return f"an index was searched, not all pairs; on a sample of {asked:,}: {described}"


def greedy_walk(
    own: UnitVectors,
    source: PairSource,
    order: np.ndarray,
    similarity: float,
    budget: int | None = None,
) -> NearestKept:
    """Walk rows in `order`; drop each that a row kept before it is `similarity` close to.

    The partner of a dropped row is the closest of those kept before it, the first row of the
    matrix on a tie. `source` must reach down to `similarity`. Rows are asked about in portions; one
    is walked in halves where its pairs would take more than `budget` bytes, or where it has so many
    among itself that most of its rows are going to be dropped by few: small portions find those
    few first.
    """
    number = np.full(len(own), -1, np.int64)
    number[source.rows] = np.arange(len(source.rows))
    vector_of = number[own.first]
    kept = np.full(len(source.rows), -1, np.int64)
    partner, score = np.full(len(own), -1, np.int64), np.full(len(own), np.nan)
    order = np.asarray(order[vector_of[order] >= 0], np.int64)
    size = source.portion or max(1, len(order))
    portions = [order[start : start + size] for start in range(0, len(order), size)][::-1]
    while portions:
        some = portions.pop()
        asked = np.unique(vector_of[some])
        asked, half = asked[kept[asked] < 0], len(some) // 2
        room = max(_FEW_PAIRS, _PAIRS_EACH * len(asked)) * BYTES_PER_PAIR
        most = budget if half and source.portion is None else None
        found = None if most is None else source.among(asked, min(most, room))
        if most is None or (found is not None and (kept >= 0).any()):
            found = source.near(asked, most)
        if found is None:
            portions += [some[half:], some[:half]]
            continue
        _, starts, others, cosines = found
        _walk(some, vector_of, starts, others, cosines, similarity, kept, partner, score)
        source.keep(asked[kept[asked] >= 0])
    return NearestKept(partner, score)


@njit(nogil=True, cache=True)
def _walk(
    order: np.ndarray,
    vector_of: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    cosines: np.ndarray,
    similarity: float,
    kept: np.ndarray,
    partner: np.ndarray,
    score: np.ndarray,
) -> None:
    """Decide on rows; `kept` is the row kept for each vector (-1: none)."""
    for row in order:
        own = vector_of[row]
        if kept[own] >= 0:
            partner[row], score[row] = kept[own], 1.0
            continue
        best, closest = -1, -2.0
        for at in range(starts[own], starts[own + 1]):
            other = kept[others[at]]
            if other < 0 or cosines[at] < similarity or cosines[at] < closest:
                continue
            if cosines[at] > closest or other < best:
                best, closest = other, cosines[at]
        if best < 0:
            kept[own] = row
        else:
            partner[row], score[row] = best, closest
