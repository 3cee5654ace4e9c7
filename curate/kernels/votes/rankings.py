"""Rankings of a few candidates: how far two agree, and which share of the others each beats.

A ranking is a number for each candidate, the best one's being the lowest; equal numbers are ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def implied_preferences(ranks: Sequence[int]) -> list[int]:
    """Return what a ranking says of every two candidates, in the order (0, 1), (0, 2), (1, 2) ...

    1: the first of the two is better, -1: the second is, 0: they are tied.
    """
    return [(one < other) - (one > other) for one, other in combinations(ranks, 2)]


def preferences_alike(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the share of pairs of candidates of which two rankings say the same; ties are one.

    Raises:
        ValueError: they rank different numbers of candidates, or fewer than two.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"rankings of {len(one)} and {len(other)} candidates do not compare")
    said = list(zip(implied_preferences(one), implied_preferences(other), strict=True))
    return sum(a == b for a, b in said) / len(said)


def shares_beaten(ranks: Sequence[int]) -> list[float]:
    """Return for each candidate the share of the others that it beats, a tie counting half.

    That is Borda's count (1781) divided by its maximum.
    """
    return [
        sum((own < other) + 0.5 * (own == other) for k, other in enumerate(ranks) if k != place)
        / (len(ranks) - 1)
        for place, own in enumerate(ranks)
    ]
