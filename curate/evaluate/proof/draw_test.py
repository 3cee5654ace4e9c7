"""The test of `curate prove`: one curated subset against several random draws.

A recipe gives one subset, and one random draw is better than another by luck. So the unit is the
draw: its standard deviation s is measured on K of them, and a curated subset has to stand out among
draws, not among seeds. More seeds never average that luck away; a paired t over seeds claims
falsely in 21 to 47 % of cases without any effect. To that comes what the choice of held-out rows
adds. All effects are oriented: more than 0 says that the curated subset is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.evaluate.proof.distributions import critical_t, two_sided_p, visible_shift

ALPHA = 0.01
POWER = 0.8
Values = NDArray[np.float64]


class Measured(NamedTuple):
    """Scores on the held-out rows: `draws` are (K, rows), the others (rows,), means over seeds.

    `clusters` numbers the group of near-duplicate prompts of each row; `lower` says that a lower
    score is the better one. An arm is missing where its training failed. Where `curated` is the
    mean of several versions of a recipe, `versions` holds the mean score of each.
    """

    curated: Values
    draws: Values
    others: Mapping[str, Values]
    clusters: NDArray[np.int64]
    lower: bool = True
    versions: Values | None = None


class Difference(NamedTuple):
    """A difference with its test: standard error, degrees of freedom, interval, what it could see.

    `draw_sd` is s; `visible` the smallest effect that is found with a chance of 80 %; the fields of
    `draws_only` leave the choice of held-out rows aside; `rank` is that of the curated subset among
    the draws and itself, 1 for the best.
    """

    against: str
    effect: float
    error: float
    df: float
    t: float
    p: float
    low: float
    high: float
    visible: float
    draw_sd: float
    row_error: float
    draws: int
    draws_only_t: float
    draws_only_p: float
    rank: int | None = None


def compare_with_draws(measured: Measured, against: str, *, alpha: float = ALPHA) -> Difference:
    """Compare the curated subset with the mean of the draws.

    The variance is s^2 (1 + 1/K) plus that of the row differences, the degrees of freedom are
    Satterthwaite's (1946). Of a recipe in R versions s^2 stays whole, since all of them choose
    among the same candidates, and their own variance over R is added.
    """
    found = _compared(measured, measured.draws.mean(0), against, 1 + 1 / len(measured.draws), alpha)
    sign = 1 if measured.lower else -1
    better = sign * (measured.draws.mean(1) - measured.curated.mean()) < 0
    return found._replace(rank=1 + int(better.sum()))


def compare_with_arm(measured: Measured, against: str, *, alpha: float = ALPHA) -> Difference:
    """Compare the curated subset with one other one, each as lucky as a draw: 2 s^2."""
    return _compared(measured, measured.others[against], against, 2, alpha)


def compare_groups(
    one: Values,
    other: Values,
    shares: tuple[float, float],
    clusters: NDArray[np.int64],
    against: str,
    *,
    lower: bool = True,
    alpha: float = ALPHA,
) -> Difference:
    """Compare two datasets by K draws of each, (K, rows); `shares` are drawn of each dataset.

    A dataset is itself one draw from its source. With the share f drawn without replacement, s^2
    holds (1 - f) / (f N) of the variance of a row's influence and the dataset's own luck 1 / N, so
    the mean of K draws varies by s^2 (1 / K + f / (1 - f)): 1 + 1/K as elsewhere for f = 1/2.

    Raises:
        ValueError: a share is not between 0 and 1.
    """
    if not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares drawn are {shares}; each lies between 0 and 1")
    sides = []
    for draws, share in zip((one, other), shares, strict=True):
        scale = 1 / len(draws) + share / (1 - share)
        sides.append((float(draws.mean(1).var(ddof=1)) * scale, len(draws) - 1))
    differences = (1 if lower else -1) * (other.mean(0) - one.mean(0))
    spread = math.sqrt((one.mean(1).var(ddof=1) + other.mean(1).var(ddof=1)) / 2)
    return _tested(differences, clusters, sides, against, spread, len(one), alpha)


def compare_paired(
    one: Values,
    other: Values,
    clusters: NDArray[np.int64],
    against: str,
    *,
    lower: bool = True,
    alpha: float = ALPHA,
) -> Difference:
    """Compare two ways to train on the same K draws, (K, rows) each: a paired t over draws."""
    differences = (1 if lower else -1) * (other - one)
    spread = float(differences.mean(1).std(ddof=1))
    sides = [(spread**2 / len(one), len(one) - 1)]
    return _tested(differences.mean(0), clusters, sides, against, spread, len(one), alpha)


def _compared(
    measured: Measured, other: Values, against: str, scale: float, alpha: float
) -> Difference:
    spread = float(measured.draws.mean(1).std(ddof=1))
    sign, sides = 1 if measured.lower else -1, [(scale * spread**2, len(measured.draws) - 1)]
    if measured.versions is not None:
        # Part of it is the luck of a draw, which is counted already: the error is rather too wide.
        count = len(measured.versions)
        sides.append((float(measured.versions.var(ddof=1)) / count, count - 1))
    differences = sign * (other - measured.curated)
    clusters, count = measured.clusters, len(measured.draws)
    return _tested(differences, clusters, sides, against, spread, count, alpha)


def _tested(
    differences: Values,
    clusters: NDArray[np.int64],
    sides: list[tuple[float, int]],
    against: str,
    spread: float,
    draws: int,
    alpha: float,
) -> Difference:
    """Test the mean of row differences against variances of draws, each with its degrees."""
    effect = float(differences.mean())
    rows, groups = mean_variance(differences, clusters)
    drawn = math.fsum(variance for variance, _ in sides)
    degrees = satterthwaite([*sides, (rows, groups - 1)])
    error, t, p = _t_test(effect, drawn + rows, degrees)
    _, draws_t, draws_p = _t_test(effect, drawn, satterthwaite(sides))
    half = critical_t(alpha, degrees) * error
    return Difference(
        against,
        effect,
        error,
        degrees,
        t,
        p,
        effect - half,
        effect + half,
        visible_shift(alpha, degrees, POWER) * error,
        spread,
        math.sqrt(rows),
        draws,
        draws_t,
        draws_p,
    )


def _t_test(effect: float, variance: float, df: float) -> tuple[float, float, float]:
    """Return standard error, t and p; two equal arms without any variance do not differ."""
    error = math.sqrt(variance)
    if not error:
        return 0.0, math.copysign(math.inf, effect) if effect else 0.0, 0.0 if effect else 1.0
    return error, effect / error, two_sided_p(effect / error, df)


def mean_variance(values: Values, clusters: NDArray[np.int64]) -> tuple[float, int]:
    """Return the variance of the mean of `values`, whole clusters drawn, and their number.

    With one row a cluster it is the sample variance over n.
    """
    _, where = np.unique(clusters, return_inverse=True)
    sums = np.bincount(where, weights=values - values.mean())
    groups = len(sums)
    if groups < 2:
        return 0.0, 2
    return float((sums**2).sum() / len(values) ** 2 * groups / (groups - 1)), groups


def satterthwaite(parts: list[tuple[float, int]]) -> float:
    """Return the degrees of freedom of a sum of variances, each with its own."""
    total = math.fsum(variance for variance, _ in parts)
    if not total:
        return float(min(df for _, df in parts))
    return 1 / math.fsum((variance / total) ** 2 / df for variance, df in parts)


def paired_t(one: Values, other: Values, *, lower: bool = True) -> float:
    """Return the two-sided p of a paired t over seeds: what `curate prove` does not rely on."""
    differences = (1 if lower else -1) * (other - one)
    n = len(differences)
    _, _, p = _t_test(float(differences.mean()), float(differences.var(ddof=1)) / n, n - 1)
    return p
