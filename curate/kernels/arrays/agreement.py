"""How far two judges order the same rows alike."""

from __future__ import annotations

import numpy as np


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
    """Return Spearman's rank correlation over rows that both have; NaN where one does not vary."""
    both = ~(np.isnan(one) | np.isnan(other))
    ranks = [midranks(values[both]) for values in (one, other)]
    if np.count_nonzero(both) < 2:
        return float("nan")
    first, second = (rank - rank.mean() for rank in ranks)
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale else float("nan")
