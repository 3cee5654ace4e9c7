"""Intervals and paired tests by resampling: whole prompts (clusters), with a fixed seed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from curate.evaluate.rank_statistics import Interval

DRAWS = 2000
_SEED = 20240404


class PairedTest(NamedTuple):
    """The mean difference of two models on the same prompts, and how it may have come about.

    `p` is that of a two-sided permutation test: how often a difference as large comes from swapping
    the two models on prompts at random.
    """

    difference: Interval
    p: float
    prompts: int


def bootstrap(values: Any, clusters: Any = None, draws: int = DRAWS) -> Interval | None:
    """Return a mean with its 95 % percentile interval (Efron 1979); `None` of nothing.

    Args:
        values: of each item.
        clusters: items with one value here are drawn together (two turns of one prompt).
        draws: how often is drawn; the same values always give the same interval.
    """
    sums, sizes = _clustered(values, clusters)
    if not len(sums):
        return None
    dice = np.random.default_rng(_SEED)
    means = np.empty(draws)
    for draw in range(draws):
        places = dice.integers(0, len(sums), len(sums))
        means[draw] = sums[places].sum() / sizes[places].sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def paired_test(first: Any, second: Any, clusters: Any = None, draws: int = 10_000) -> PairedTest:
    """Compare two models on the same items; see `PairedTest`.

    Raises:
        ValueError: they have different numbers of items, or none.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or not len(one):
        raise ValueError(f"two models on {len(one)} and {len(other)} items; give the same, some")
    sums, sizes = _clustered(one - other, clusters)
    interval = bootstrap(one - other, clusters)
    assert interval is not None
    dice = np.random.default_rng(_SEED)
    observed, hits = abs(sums.sum()), 0
    # In blocks: 10,000 draws of 10,000 prompts at once would take 800 MB.
    block = max(1, 2_000_000 // len(sums))
    for at in range(0, draws, block):
        signs = dice.integers(0, 2, (min(block, draws - at), len(sums))) * 2 - 1
        hits += int((np.abs(signs @ sums) >= observed - 1e-12).sum())
    return PairedTest(interval, (hits + 1) / (draws + 1), len(sizes))


def _clustered(values: Any, clusters: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each cluster's values, and how many there are."""
    array = np.asarray(values, np.float64)
    if clusters is None:
        return array, np.ones(len(array))
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(place.ravel(), array), np.bincount(place.ravel()).astype(np.float64)
