"""How many rows each group may give, and which: the best ones, place by place."""

from __future__ import annotations

import heapq
from fractions import Fraction

import numpy as np


def places_of_groups(
    group: np.ndarray, score: np.ndarray, count: int, *, uniform: bool
) -> np.ndarray:
    """Return `count` rows at most, place by place; each place is its group's best row left.

    A place goes to the group with the smallest quotient (2 x places + 1) / rows (Sainte-Lague), or
    with `uniform` to the one with the fewest places; ties go to the lower group. Of equal scores
    the first row is the best, and NaN comes last. Rows of the group -1 are never taken.
    """
    order = np.lexsort((np.arange(len(group)), -score, group))
    sorted_groups = group[order]
    lists = {
        int(name): order[sorted_groups == name].tolist() for name in np.unique(group) if name >= 0
    }
    given = [(_turn(0, len(rows), uniform), name, 0) for name, rows in lists.items()]
    heapq.heapify(given)
    chosen: list[int] = []
    while given and len(chosen) < count:
        _, name, places = heapq.heappop(given)
        rows = lists[name]
        chosen.append(rows[places])
        if places + 1 < len(rows):
            heapq.heappush(given, (_turn(places + 1, len(rows), uniform), name, places + 1))
    return np.array(chosen, np.int64)


def _turn(places: int, rows: int, uniform: bool) -> Fraction:
    """Return what is smallest for the group whose turn it is (exact: quotients tie)."""
    return Fraction(places) if uniform else Fraction(2 * places + 1, rows)
