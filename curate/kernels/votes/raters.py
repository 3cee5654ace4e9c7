"""How far raters agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(table: Any) -> float:
    """Return the kappa of two raters; `table[i, j]` counts items rated i by one, j by the other.

    NaN where both use one category alone. Cohen 1960.
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    by_chance = float(counts.sum(0) @ counts.sum(1) / total**2) if total else 1.0
    if by_chance >= 1:
        return float("nan")
    return (float(np.trace(counts) / total) - by_chance) / (1 - by_chance)


def fleiss_kappa(counts: Any, times: Any = None) -> float:
    """Return the kappa of many raters; `counts[i, j]` is how many put item i into category j.

    Each item counts once, or `times[i]` times. Items may have different numbers of raters; those
    with fewer than two say nothing. NaN where only one category is used. Fleiss 1971.
    """
    matrix, items = _rated_twice(counts, times)
    raters = matrix.sum(1)
    if not len(matrix):
        return float("nan")
    agreeing = ((matrix**2).sum(1) - raters) / (raters * (raters - 1))
    totals = items @ matrix
    shares = totals / totals.sum()
    by_chance = float(shares @ shares)
    if by_chance >= 1:
        return float("nan")
    return (float(items @ agreeing / items.sum()) - by_chance) / (1 - by_chance)


def krippendorff_alpha(counts: Any, level: Level = "nominal", times: Any = None) -> float:
    """Return the alpha of many raters; `counts[i, j]` is how many put item i into category j.

    Each item counts once, or `times[i]` times. Categories are in order, for `ordinal`, and whole
    numbers apart for `interval`. Items with fewer than two raters say nothing; NaN where only one
    category is used. Krippendorff 2011, "Computing Krippendorff's alpha-reliability".
    """
    matrix, items = _rated_twice(counts, times)
    totals = items @ matrix
    if np.count_nonzero(totals) < 2:
        return float("nan")
    size = len(totals)
    ordered = matrix * items[:, None] / (matrix.sum(1, keepdims=True) - 1)
    coincidences = ordered.T @ matrix - np.diag(ordered.sum(0))
    distance = np.ones((size, size)) - np.eye(size)
    if level == "interval":
        distance = np.subtract.outer(np.arange(size), np.arange(size)).astype(float) ** 2
    elif level == "ordinal":
        middle = np.cumsum(totals) - totals / 2
        distance = np.subtract.outer(middle, middle) ** 2
    observed = float((coincidences * distance).sum())
    by_chance = float((np.outer(totals, totals) * distance).sum()) / (float(totals.sum()) - 1)
    return 1 - observed / by_chance


def _rated_twice(counts: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.asarray(counts, np.float64)
    matrix = matrix if matrix.size else matrix.reshape(0, 2)
    items = np.ones(len(matrix)) if times is None else np.asarray(times, np.float64)
    there = matrix.sum(1) >= 2
    return matrix[there], items[there]
