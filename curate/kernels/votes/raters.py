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


def fleiss_kappa(counts: Any) -> float:
    """Return the kappa of many raters; `counts[i, j]` is how many put item i into category j.

    Items may have different numbers of raters; those with fewer than two say nothing. NaN where
    only one category is used. Fleiss 1971.
    """
    matrix = _rated_twice(counts)
    raters = matrix.sum(1)
    if not len(matrix):
        return float("nan")
    agreeing = ((matrix**2).sum(1) - raters) / (raters * (raters - 1))
    shares = matrix.sum(0) / matrix.sum()
    by_chance = float(shares @ shares)
    return (
        float("nan") if by_chance >= 1 else (float(agreeing.mean()) - by_chance) / (1 - by_chance)
    )


def krippendorff_alpha(counts: Any, level: Level = "nominal") -> float:
    """Return the alpha of many raters; `counts[i, j]` is how many put item i into category j.

    Categories are in order, for `ordinal`, and whole numbers apart for `interval`. Items with fewer
    than two raters say nothing; NaN where only one category is used. Krippendorff 2011, "Computing
    Krippendorff's alpha-reliability".
    """
    matrix = _rated_twice(counts)
    totals = matrix.sum(0)
    if np.count_nonzero(totals) < 2:
        return float("nan")
    size = len(totals)
    ordered = matrix / (matrix.sum(1, keepdims=True) - 1)
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


def _rated_twice(counts: Any) -> np.ndarray:
    matrix = np.asarray(counts, np.float64)
    return matrix[matrix.sum(1) >= 2] if matrix.size else matrix.reshape(0, 2)
