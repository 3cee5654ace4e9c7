"""Near ones among vectors, by the cheapest way that gives the exact verdicts.

Neighbours down to a floor are found once and kept in a file; every threshold at or above the floor
is then decided from them. Below the floor, or where the neighbours of dense data would need too
much memory, the vectors are searched at the threshold itself, by the index if they are many, and a
remark says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.kernels.arrays.duplicates import NearestKept, not_leaked
from curate.kernels.vectors.all_pairs import Neighbours, neighbours
from curate.kernels.vectors.cache import derived, derived_file
from curate.kernels.vectors.cross_dataset import closest_other
from curate.kernels.vectors.greedy_walk import walk_indexed, walk_neighbours, walk_searching
from curate.kernels.vectors.ivf_index import (
    PROBES,
    SAMPLE,
    IVFIndex,
    Recall,
    indexed_neighbours,
    known_to,
    measured_recall,
)
from curate.kernels.vectors.unit_vectors import UnitVectors

# Neighbours may take this much memory, or an eighth of what the vectors take.
BUDGET = 256 << 20
# On two cores an exact search of so many takes half a minute in bfloat16, two in float32.
EXACT_UP_TO = 200_000


class Kept(NamedTuple):
    """The verdicts, and what the reader of a report should know about how they came to be.

    `leaked` gives the lines that another dataset has, where there is one.
    """

    nearest: NearestKept
    leaked: NearestKept | None
    remarks: tuple[str, ...]


class PairSearch(NamedTuple):
    """How close lines must be, down to where neighbours are kept, in what folder and memory."""

    similarity: float
    floor: float
    folder: Path | None = None
    exact_up_to: int = EXACT_UP_TO
    budget: int | None = None


def nearest_kept(every: UnitVectors, order: np.ndarray, search: PairSearch) -> Kept:
    """Walk lines in `order`; drop each that one kept before it is close to.

    Lines of `every` behind the first `len(order)` belong to another dataset: a line that is close
    to one of those is dropped first.
    """
    own, leaked = every, None
    if len(every) > len(order):
        own, leaked = every.head(len(order)), _leaked(every, len(order), search)
    order = not_leaked(order, leaked)
    budget = max(BUDGET, own.vectors.nbytes // 8) if search.budget is None else search.budget
    if search.similarity < search.floor:
        why = f"similarity {search.similarity:g} is below floor {search.floor:g}"
        why += ": the vectors were searched again"
    else:
        found, remarks = _neighbours(own, search, budget)
        if found is not None:
            return Kept(walk_neighbours(own, found, order, search.similarity), leaked, remarks)
        why = (
            f"neighbours down to floor {search.floor:g} would take more than "
            f"{budget / 1e6:,.0f} MB: the vectors were searched at similarity "
            f"{search.similarity:g}, and another one will be searched for again"
        )
    nearest, remarks = _searched(own, order, search, budget)
    return Kept(nearest, leaked, (why, *remarks))


def _leaked(every: UnitVectors, count: int, search: PairSearch) -> NearestKept:
    if search.similarity < search.floor:
        return closest_other(every, count, search.similarity)
    path = derived_file(search.folder, every, "others", count, search.floor)
    found = derived(path, lambda: closest_other(every, count, search.floor))
    assert found is not None, "a search always finds an answer"
    partner, score = found
    close = score >= search.similarity
    return NearestKept(np.where(close, partner, -1), np.where(close, score, np.nan))


def _searched(
    own: UnitVectors, order: np.ndarray, search: PairSearch, budget: int
) -> tuple[NearestKept, tuple[str, ...]]:
    """Return the verdicts without stored neighbours, and a remark where an index found them."""
    similarity = search.similarity
    if len(own.distinct()) <= search.exact_up_to:
        return walk_searching(own, order, similarity), ()
    lists = IVFIndex(own, similarity)
    recall = measured_recall(own, lists.lines, similarity, lists.reach)
    remark = _indexed_remark(recall, len(lists.lines), similarity)
    return walk_indexed(own, lists, order, similarity, budget=budget), (remark,)


def _neighbours(
    own: UnitVectors, search: PairSearch, budget: int
) -> tuple[Neighbours | None, tuple[str, ...]]:
    """Return the neighbours down to the floor, and a remark where an index found them."""
    if len(own.distinct()) <= search.exact_up_to:
        path = derived_file(search.folder, own, "neighbours", search.floor)
        found = derived(path, lambda: neighbours(own, search.floor, budget=budget))
        return None if found is None else Neighbours(*found), ()
    path = derived_file(search.folder, own, "index", PROBES, search.floor)
    found = derived(path, lambda: _indexed(own, search.floor, budget))
    if found is None:
        return None, ()
    *arrays, cosines, hits = found
    near, recall = Neighbours(*arrays), Recall(cosines, hits)
    return near, (_indexed_remark(recall, len(near.lines), search.floor, search.similarity),)


def _indexed(own: UnitVectors, floor: float, budget: int) -> tuple[np.ndarray, ...] | None:
    found = indexed_neighbours(own, floor, budget=budget)
    if found is None:
        return None
    return (*found, *measured_recall(own, found.lines, floor, known_to(found)))


def _indexed_remark(recall: Recall, count: int, *cosines: float) -> str:
    told = "; ".join(recall.told(cosine) for cosine in sorted(set(cosines)))
    asked = min(SAMPLE, count)
    return f"an index was searched, not all pairs; on a sample of {asked:,}: {told}"
