"""Near ones among vectors, by the cheapest way that gives the exact verdicts.

Neighbours down to a floor are found once and kept in a file; every threshold at or above the floor
is then decided from them. Where there is no such file, or the neighbours of dense data would need
too much memory, the vectors are searched at the threshold itself, and a remark says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.kernels.cosine_join import Neighbours, neighbours
from curate.kernels.cosine_walk import walk_neighbours, walk_searching
from curate.kernels.directions import Directions
from curate.kernels.nearest import Nearest
from curate.kernels.neighbour_file import load_neighbours, neighbour_file, save_neighbours

# Neighbours may take this much memory, or an eighth of what the vectors take.
BUDGET = 256 << 20


class Kept(NamedTuple):
    """The verdicts, and what the reader of a report should know about how they came to be."""

    nearest: Nearest
    remarks: tuple[str, ...] = ()


def nearest_kept(
    own: Directions,
    order: np.ndarray,
    similarity: float,
    *,
    floor: float,
    folder: Path | None = None,
    budget: int | None = None,
) -> Kept:
    """Walk vectors in `order`; drop each that one kept before it is `similarity` close to.

    Neighbours down to `floor` are taken from `folder`, or found and kept there.
    """
    if similarity < floor:
        remark = f"similarity {similarity:g} is below floor {floor:g}: the vectors were searched"
        return Kept(walk_searching(own, order, similarity), (remark,))
    budget = max(BUDGET, own.vectors.nbytes // 8) if budget is None else budget
    found = _stored(own, floor, folder, budget)
    if found is None:
        remark = (
            f"neighbours down to floor {floor:g} would take more than {budget / 1e6:,.0f} MB: the "
            f"vectors were searched at similarity {similarity:g}, and another one searches again"
        )
        return Kept(walk_searching(own, order, similarity), (remark,))
    return Kept(walk_neighbours(own, found, order, similarity))


def _stored(own: Directions, floor: float, folder: Path | None, budget: int) -> Neighbours | None:
    if folder is None:
        return neighbours(own, floor, budget=budget)
    path = neighbour_file(folder, own, floor)
    found = load_neighbours(path)
    if found is None:
        found = neighbours(own, floor, budget=budget)
        if found is not None:
            save_neighbours(path, found)
    return found
