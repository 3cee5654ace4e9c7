"""Measures of agreement between labels and judgements, with nothing but numpy behind them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from curate.kernels.arrays import agreement
from curate.kernels.votes import raters

# The quantile of the normal distribution for intervals that cover 95 %.
Z95 = 1.959963984540054


class Interval(NamedTuple):
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def share(hits: float, count: float) -> Interval | None:
    """Return a share with Wilson's interval (1927); `None` of nothing.

    `hits` may hold halves, as ties that count half.
    """
    if not count:
        return None
    p, z2 = hits / count, Z95 * Z95
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def clustered_share(hits: Any, clusters: Any) -> Interval | None:
    """Return a share with an interval that allows for clusters (pairs of one prompt).

    Wilson's interval for as many independent observations as have the same variance (Korn and
    Graubard 1998, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data"); never for more than there are. `hits` are 0 to 1, with
    halves for ties; `None` of nothing.
    """
    values = np.asarray(hits, np.float64)
    count = len(values)
    if not count:
        return None
    p = float(values.mean())
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(place.ravel(), values - p)
    alone = p * (1 - p) / count
    together = float(sums @ sums) / count**2 * (len(sums) / max(1, len(sums) - 1))
    # Ties make shares vary less than wins alone would; that is left out, as in `share`.
    effect = max(1.0, together / alone) if alone else 1.0
    return share(p * count / effect, count / effect)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return the agreement of two raters beyond chance (Cohen 1960).

    `None` where there is no item, or both raters always say the same one thing: chance then
    explains every agreement.
    """
    if len(first) != len(second):
        raise ValueError(f"the raters judged {len(first)} and {len(second)} items; give the same")
    places = {name: place for place, name in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(places), len(places)))
    for one, other in zip(first, second, strict=True):
        table[places[one], places[other]] += 1
    value = raters.cohen_kappa(table)
    return None if math.isnan(value) else value


def spearman(first: Any, second: Any) -> float | None:
    """Return the rank correlation with ties (Spearman 1904); `None` where one side is constant."""
    value = agreement.spearman(*(np.asarray(side, np.float64) for side in (first, second)))
    return None if math.isnan(value) else value


def kendall(first: Any, second: Any) -> float | None:
    """Return Kendall's tau-b, which allows for ties; `None` where one side is constant.

    Time grows with the square of the number of items.
    """
    value = agreement.kendall(*(np.asarray(side, np.float64) for side in (first, second)))
    return None if math.isnan(value) else value


def auc(scores: Any, labels: Any) -> float | None:
    """Return the probability that a positive row scores above a negative one, ties counting half.

    `labels` are true or false; `None` where there are none of either.
    """
    marked = np.asarray(labels, bool)
    positive, negative = int(marked.sum()), int((~marked).sum())
    if not positive or not negative:
        return None
    ranks = agreement.midranks(np.asarray(scores, np.float64)) * (len(marked) - 1)
    won = float(ranks[marked].sum()) - positive * (positive - 1) / 2
    return won / (positive * negative)


def histogram(values: Any, bins: int = 10) -> list[tuple[str, int]]:
    """Return how many values there are of each, or in each of `bins` equal ranges if they differ.

    A range includes its lower end, the last one both.
    """
    array = np.asarray(values, np.float64)
    distinct, counts = np.unique(array, return_counts=True)
    if len(distinct) <= bins:
        return [(f"{v:g}", int(n)) for v, n in zip(distinct, counts, strict=True)]
    numbers, edges = np.histogram(array, bins=bins)
    return [
        (f"{low:.3g} to {high:.3g}", int(n))
        for low, high, n in zip(edges[:-1], edges[1:], numbers, strict=True)
    ]
