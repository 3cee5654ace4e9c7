"""The distributions against scipy, where it is installed, and against tables."""

import math
import random

import pytest

from curate.evaluate.proof.distributions import (
    beta_share,
    clopper_pearson,
    critical_t,
    power_of,
    two_sided_p,
    visible_shift,
)


@pytest.mark.parametrize("df", [1, 2.5, 7, 11, 100, 1e4])
def test_student_is_that_of_scipy(df: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for t in (0.1, 1.0, -3.5, 9.0, 40.0):
        assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-9, abs=1e-300)
    assert critical_t(0.01, df) == pytest.approx(stats.t.isf(0.005, df), rel=1e-9)


@pytest.mark.parametrize("df", [2, 7, 11.5, 23, 200])
def test_power_is_that_of_the_noncentral_t(df: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for shift in (0.0, 1.0, 3.0, 6.0):
        critical = stats.t.isf(0.005, df)
        exact = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
        assert power_of(shift, 0.01, df) == pytest.approx(exact, abs=1e-6)


def test_student_has_the_values_of_tables() -> None:
    # Any printed table: 99 % two-sided.
    assert [round(critical_t(0.01, df), 3) for df in (1, 7, 11, 23)] == [
        63.657,
        3.499,
        3.106,
        2.807,
    ]
    assert two_sided_p(0, 5) == 1.0
    assert two_sided_p(math.inf, 5) == 0.0


def test_the_smallest_visible_effect_in_standard_deviations_of_draws() -> None:
    # sqrt(1 + 1/K) times the noncentral shift of power 0.8, df K - 1, two-sided 0.01.
    found = {k: visible_shift(0.01, k - 1) * math.sqrt(1 + 1 / k) for k in (8, 12, 16, 24)}
    assert {k: round(v, 2) for k, v in found.items()} == {8: 4.79, 12: 4.2, 16: 3.97, 24: 3.76}


def test_the_exact_interval_of_a_share() -> None:
    assert clopper_pearson(0, 40) == pytest.approx((0.0, 0.0880973), abs=1e-6)
    assert clopper_pearson(10, 10) == pytest.approx((0.6915029, 1.0), abs=1e-6)
    assert clopper_pearson(5, 200) == pytest.approx((0.0081662, 0.0573744), abs=1e-6)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_the_interval_is_where_the_binomial_tails_have_its_share() -> None:
    draw = random.Random(3)
    for _ in range(20):
        count = draw.randint(1, 60)
        hits = draw.randint(0, count)
        low, high = clopper_pearson(hits, count)
        at_least = sum(_binomial(count, k, low) for k in range(hits, count + 1))
        at_most = sum(_binomial(count, k, high) for k in range(hits + 1))
        assert hits == 0 or at_least == pytest.approx(0.025, rel=1e-6)
        assert hits == count or at_most == pytest.approx(0.025, rel=1e-6)


def _binomial(count: int, hits: int, p: float) -> float:
    return math.comb(count, hits) * p**hits * (1 - p) ** (count - hits)


def test_the_beta_distribution_at_its_ends_and_in_the_middle() -> None:
    assert [beta_share(x, 2, 3) for x in (-1, 0, 1, 2)] == [0, 0, 1, 1]
    assert beta_share(0.5, 4, 4) == pytest.approx(0.5)
    # I_x(1, b) = 1 - (1 - x)^b
    assert beta_share(0.3, 1, 5) == pytest.approx(1 - 0.7**5)
