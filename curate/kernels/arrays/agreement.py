"""How far two judges order the same rows alike, and whether one tells rows apart at all."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

# Fewer scores may well be equal. GPT-4 gave 75.9 % of davinci-003's answers exactly 9, and its
# scores still rank; where nine of ten are one value, hardly a row is told from another.
FEWEST_SCORES = 20
COLLAPSED_SHARE = 0.9
# The squares of the ranks of so many rows add up to less than 2^63.
_MOST_EXACT = 2_000_000


def midranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0 (the lowest) to 1, ties sharing the middle; NaN stays NaN."""
    out = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    _, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if not len(counts):
        return out
    middle = np.cumsum(counts) - (counts + 1) / 2
    out[known] = middle[place] / max(1, int(counts.sum()) - 1)
    return out


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation over rows that both have; NaN where one does not vary.

    The same to the bit in any order of the rows (up to two million).
    """
    both = ~(np.isnan(one) | np.isnan(other))
    count = int(np.count_nonzero(both))
    if count < 2:
        return float("nan")
    # Twice a middle rank is whole, and the mean of all is known: sums of whole numbers are exact.
    first, second = (
        np.rint(midranks(values[both]) * (2 * (count - 1))) - (count - 1) for values in (one, other)
    )
    if count <= _MOST_EXACT:
        first, second = first.astype(np.int64), second.astype(np.int64)
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else float("nan")


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Return Kendall's tau-b (1945), which allows for ties; NaN where one side does not vary.

    Time grows with the square of the number of items.
    """
    agree, ties_one, ties_other, pairs = 0.0, 0, 0, 0
    for k in range(1, len(one)):
        a, b = np.sign(one[k] - one[:k]), np.sign(other[k] - other[:k])
        agree += float(a @ b)
        ties_one += int(np.count_nonzero(a == 0))
        ties_other += int(np.count_nonzero(b == 0))
        pairs += k
    scale = math.sqrt(float(pairs - ties_one) * float(pairs - ties_other))
    return agree / scale if scale else float("nan")


class CommonestScore(NamedTuple):
    """The score that most rows have, how many have it, and how many have any."""

    value: float
    rows: int
    scored: int

    def warning(self, whose: str) -> str:
        """Return a sentence about the scores that `whose` names."""
        return (
            f"{self.rows:,} of {self.scored:,} scores ({self.rows / self.scored:.0%}) of {whose} "
            f"are {self.value:g}: they have collapsed to one value and hardly tell rows apart; try "
            "another prompt or model, an expected score (expectation: true), or rank answers "
            "against each other (rank)"
        )


def collapse_of(scores: Any, fewest: int = FEWEST_SCORES) -> CommonestScore | None:
    """Return the commonest score where nearly all are that one, `None` where they differ.

    Nearly all are 90 % of at least `fewest` scores.
    """
    array = np.asarray(scores, np.float64)
    if len(array) < fewest:
        return None
    values, counts = np.unique(array, return_counts=True)
    most = int(counts.argmax())
    found = CommonestScore(float(values[most]), int(counts[most]), len(array))
    return found if found.rows >= COLLAPSED_SHARE * found.scored else None
