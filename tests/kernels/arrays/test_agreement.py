"""Rank correlations equal those of pandas, ties and missing values included."""

import math

import numpy as np
import pandas as pd
import pytest

from curate.kernels.arrays.agreement import kendall, midranks, spearman


def test_ranks_run_from_0_to_1_and_ties_share_the_middle():
    assert midranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [0.5, 0.0, 0.5, 1.0]
    found = midranks(np.array([2.0, np.nan, 1.0]))
    assert found[0] == 1.0 and math.isnan(found[1]) and found[2] == 0.0
    assert midranks(np.array([5.0])).tolist() == [0.0]
    assert len(midranks(np.array([]))) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_correlation_is_that_of_pandas(seed):
    draw = np.random.default_rng(seed)
    one, other = draw.integers(0, 6, (2, 40)).astype(float)
    one[draw.random(40) < 0.2] = np.nan
    frame = pd.DataFrame({"one": one, "other": other}).dropna()
    want = frame["one"].rank().corr(frame["other"].rank())
    assert spearman(one, other) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_the_correlation_is_the_same_to_the_bit_in_any_order_of_the_rows(seed):
    draw = np.random.default_rng(seed)
    one, other = draw.normal(size=(2, 500)).round(1)
    order = draw.permutation(500)
    assert spearman(one[order], other[order]) == spearman(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_kendall_is_that_of_scipy(seed):
    from scipy.stats import kendalltau

    one, other = np.random.default_rng(seed).integers(0, 6, (2, 30)).astype(float)
    assert kendall(one, other) == pytest.approx(kendalltau(one, other).statistic, abs=1e-12)
    assert math.isnan(kendall(np.ones(3), np.arange(3.0)))


def test_what_does_not_vary_has_no_correlation():
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert math.isnan(spearman(np.array([1.0]), np.array([2.0])))
