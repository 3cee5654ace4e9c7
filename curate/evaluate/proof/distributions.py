"""Student's t, its noncentral form and the beta distribution, to about twelve digits.

The core needs no scipy for four functions; tests compare them with it where it is installed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

_SMALL = 1e-300
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), by its continued fraction.

    The fraction is evaluated by Lentz's method (Press et al. 2007, Numerical Recipes, 6.4).
    """
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_share(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1) or _SMALL)
    found = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = found
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or _SMALL)
            c = 1.0 + term / c or _SMALL
            found *= c * d
        if abs(found - before) <= 1e-15 * abs(found):
            break
    return math.exp(log_front) * found / a


def two_sided_p(t: float, df: float) -> float:
    """Return the probability that |T| is at least |t| under Student's t with `df` degrees."""
    if math.isinf(t):
        return 0.0
    return beta_share(df / (df + t * t), df / 2, 0.5)


@functools.lru_cache(maxsize=4096)
def critical_t(alpha: float, df: float) -> float:
    """Return the t beyond which the two-sided p lies below `alpha`."""
    return _root(lambda t: alpha - two_sided_p(t, df))


def power_of(shift: float, alpha: float, df: float) -> float:
    """Return the chance that a two-sided test at `alpha` sees an effect of `shift` standard errors.

    The noncentral t is a normal divided by a chi, over which Gauss and Legendre integrate.
    """
    critical, spread = critical_t(alpha, df), 8 / math.sqrt(2 * df)
    low, high = max(0.0, 1 - spread), 1 + spread
    x = (high + low) / 2 + (high - low) / 2 * _NODES
    log_density = (df - 1) * np.log(x) - df * x * x / 2
    density = _WEIGHTS * np.exp(log_density - log_density.max())
    seen = [_normal(shift - critical * one) + _normal(-shift - critical * one) for one in x]
    return float(density @ np.array(seen) / density.sum())


@functools.lru_cache(maxsize=4096)
def visible_shift(alpha: float, df: float, power: float = 0.8) -> float:
    """Return the effect, in standard errors, that a two-sided test sees with chance `power`."""
    return _root(lambda shift: power_of(shift, alpha, df) - power)


def clopper_pearson(hits: int, count: int, coverage: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934); (0, 1) of nothing."""
    tail = (1 - coverage) / 2
    low = 0.0 if hits == 0 else _within(lambda p: beta_share(p, hits, count - hits + 1) - tail)
    if hits == count:
        return low, 1.0
    return low, _within(lambda p: beta_share(p, hits + 1, count - hits) - (1 - tail))


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _root(rising: Callable[[float], float]) -> float:
    """Return where a function that rises from below 0 crosses it, beyond 0."""
    high = 1.0
    while rising(high) < 0:
        high *= 2
    return _within(rising, high)


def _within(rising: Callable[[float], float], high: float = 1.0) -> float:
    """Return the root between 0 and `high` by false position, halving stale ends (Illinois)."""
    low, at_low, at_high, last, side = 0.0, rising(0.0), rising(high), -1.0, 0
    for _ in range(200):
        x = (low * at_high - high * at_low) / (at_high - at_low)
        value = rising(x)
        if value == 0 or abs(x - last) <= 1e-14 * x:
            break
        if value > 0:
            high, at_high = x, value
            at_low = at_low / 2 if side > 0 else at_low
        else:
            low, at_low = x, value
            at_high = at_high / 2 if side < 0 else at_high
        last, side = x, 1 if value > 0 else -1
    return x
