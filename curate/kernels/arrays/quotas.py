"""Shares of a whole number, and what has which share: what planned diversity rests on.

Independent draws would miss a planned count by its square root. Here every count is its share
rounded up or down (systematic sampling: Madow 1949), so a share that is a whole number is met
exactly, and the rounding favours nobody on average. Chance only says who gets what.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise


def quotas(weights: Sequence[float], count: int, dice: random.Random) -> list[int]:
    """Return whole numbers that add up to `count`, each its weight's share rounded up or down."""
    shares = [Fraction(str(weight)) for weight in weights]
    total, offset = sum(shares), Fraction(dice.random())
    # Exact: 0.1 x 30 is 3, where floating point may fall short.
    edges = [int(edge * count / total + offset) for edge in accumulate(shares, initial=Fraction(0))]
    return [end - start for start, end in pairwise(edges)]


def spread(weights: Sequence[float], count: int, dice: random.Random) -> list[int]:
    """Return for each of `count` places which of the weights it has, by `quotas`, shuffled."""
    found = [n for n, often in enumerate(quotas(weights, count, dice)) for _ in range(often)]
    dice.shuffle(found)
    return found


def spread_distinct(
    weights: Sequence[float], groups: int, size: int, dice: random.Random
) -> list[int]:
    """Return what `spread` does for `groups` of `size` places each, no two of a group alike.

    A group takes those of which most are left, chance breaking ties: that meets every quota which
    does not exceed the number of groups (Gale and Ryser 1957). A larger one is not met.
    """
    left = quotas(weights, groups * size, dice)
    found = []
    for _ in range(groups):
        order = sorted(range(len(left)), key=lambda n: (-left[n], dice.random()))[:size]
        dice.shuffle(order)
        for chosen in order:
            left[chosen] -= 1
        found += order
    return found


def strata(low: float, high: float, count: int, dice: random.Random) -> list[float]:
    """Return `count` numbers from `low` to `high`, one from each of as many equal parts, shuffled.

    Whole numbers, `high` included, where both ends are whole numbers.
    """
    whole = isinstance(low, int) and isinstance(high, int)
    width = high - low + 1 if whole else high - low
    found: list[float] = []
    for part in range(count):
        value = low + width * (part + dice.random()) / count
        found.append(min(int(value // 1), int(high)) if whole else min(value, high))
    dice.shuffle(found)
    return found
