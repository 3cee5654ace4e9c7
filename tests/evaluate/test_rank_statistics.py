"""Measures of agreement equal plain computations of their definitions."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.evaluate.rank_statistics import auc, cohen_kappa, histogram, kendall, share, spearman

few = st.lists(st.integers(0, 4), min_size=2, max_size=12)
pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12)


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert share(81, 263) == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-5)
    assert share(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)
    assert share(0, 0) is None


def test_kappa_is_the_textbook_one():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5.
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(first, first) == 1.0
    assert cohen_kappa(["y", "y"], ["y", "y"]) is None
    assert cohen_kappa([], []) is None
    with pytest.raises(ValueError, match="50 and 1 items"):
        cohen_kappa(first, ["y"])


def plain_ranks(values):
    counts = Counter(values)
    return [sum(v < own for v in values) + (counts[own] + 1) / 2 for own in values]


@given(pairs)
def test_the_rank_correlation_is_that_of_plain_ranks(values):
    first, second = zip(*values, strict=True)
    found = spearman(first, second)
    one, other = plain_ranks(first), plain_ranks(second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(np.corrcoef(one, other)[0, 1]), abs=1e-12)


@given(pairs)
def test_tau_counts_pairs(values):
    agree = ties_one = ties_other = 0
    count = len(values)
    for i in range(count):
        for j in range(i):
            a, b = values[i][0] - values[j][0], values[i][1] - values[j][1]
            agree += (a * b > 0) - (a * b < 0)
            ties_one += a == 0
            ties_other += b == 0
    every = count * (count - 1) / 2
    scale = math.sqrt((every - ties_one) * (every - ties_other))
    found = kendall(*zip(*values, strict=True))
    assert found is None if not scale else found == pytest.approx(agree / scale, abs=1e-12)


@given(few, few)
def test_the_area_is_the_share_of_pairs_in_order(good, bad):
    won = sum((g > b) + (g == b) / 2 for g in good for b in bad) / (len(good) * len(bad))
    labels = [True] * len(good) + [False] * len(bad)
    assert auc([*good, *bad], labels) == pytest.approx(won, abs=1e-12)
    assert auc(good, [True] * len(good)) is None


def test_few_values_are_counted_and_many_are_binned():
    assert histogram([0.5, 1.0, 0.5]) == [("0.5", 2), ("1", 1)]
    binned = histogram(range(101))
    assert [count for _, count in binned] == [10] * 9 + [11]
    assert binned[0][0] == "0 to 10"
