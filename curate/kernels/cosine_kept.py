"""Near ones among vectors, by the cheapest way that gives the exact verdicts.

Neighbours down to a floor are found once and kept in a file; every threshold at or above the floor
is then decided from them. Where there is no such file, or the neighbours of dense data would need
too much memory, the vectors are searched at the threshold itself, and a remark says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.kernels.cosine_against import closest_other
from curate.kernels.cosine_join import Neighbours, neighbours
from curate.kernels.cosine_walk import walk_neighbours, walk_searching
from curate.kernels.directions import Directions
from curate.kernels.leaks import not_leaked
from curate.kernels.nearest import Nearest
from curate.kernels.neighbour_file import derived, derived_file

# Neighbours may take this much memory, or an eighth of what the vectors take.
BUDGET = 256 << 20


class Kept(NamedTuple):
    """The verdicts, and what the reader of a report should know about how they came to be.

    `leaked` gives the lines that another dataset has, where there is one.
    """

    nearest: Nearest
    leaked: Nearest | None
    remarks: tuple[str, ...]


class Search(NamedTuple):
    """How close lines must be, down to where neighbours are kept, in what folder and memory."""

    similarity: float
    floor: float
    folder: Path | None = None
    budget: int | None = None


def nearest_kept(every: Directions, order: np.ndarray, search: Search) -> Kept:
    """Walk lines in `order`; drop each that one kept before it is close to.

    Lines of `every` behind the first `len(order)` belong to another dataset: a line that is close
    to one of those is dropped first.
    """
    own, leaked = every, None
    if len(every) > len(order):
        own, leaked = every.head(len(order)), _leaked(every, len(order), search)
    order = not_leaked(order, leaked)
    if search.similarity < search.floor:
        remark = f"similarity {search.similarity:g} is below floor {search.floor:g}"
        remark += ": the vectors were searched again"
        return Kept(walk_searching(own, order, search.similarity), leaked, (remark,))
    found, budget = _neighbours(own, search)
    if found is not None:
        return Kept(walk_neighbours(own, found, order, search.similarity), leaked, ())
    remark = (
        f"neighbours down to floor {search.floor:g} would take more than {budget / 1e6:,.0f} MB: "
        f"the vectors were searched at similarity {search.similarity:g}, and another one will be "
        "searched for again"
    )
    return Kept(walk_searching(own, order, search.similarity), leaked, (remark,))


def _leaked(every: Directions, count: int, search: Search) -> Nearest:
    if search.similarity < search.floor:
        return closest_other(every, count, search.similarity)
    path = derived_file(search.folder, every, "others", count, search.floor)
    found = derived(path, lambda: closest_other(every, count, search.floor))
    assert found is not None, "a search always finds an answer"
    partner, score = found
    close = score >= search.similarity
    return Nearest(np.where(close, partner, -1), np.where(close, score, np.nan))


def _neighbours(own: Directions, search: Search) -> tuple[Neighbours | None, int]:
    budget = max(BUDGET, own.vectors.nbytes // 8) if search.budget is None else search.budget
    path = derived_file(search.folder, own, "neighbours", search.floor)
    found = derived(path, lambda: neighbours(own, search.floor, budget=budget))
    return None if found is None else Neighbours(*found), budget
