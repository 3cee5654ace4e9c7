"""Quotas: they add up, each is its share rounded up or down, and chance only says who has what."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.arrays.quotas import quotas, spread, spread_distinct, strata

WEIGHTS = st.lists(st.sampled_from([0, 1, 2, 3, 0.1, 0.25, 7]), min_size=1, max_size=6).filter(sum)


@given(WEIGHTS, st.integers(0, 300), st.integers(0, 99))
def test_every_count_is_its_share_rounded_up_or_down(weights, count, seed):
    found = quotas(weights, count, random.Random(seed))
    assert sum(found) == count
    total = sum(Fraction(str(weight)) for weight in weights)
    for often, weight in zip(found, weights, strict=True):
        share = Fraction(str(weight)) * count / total
        assert abs(often - share) < 1
        assert often == share or share.denominator > 1
    places = spread(weights, count, random.Random(seed))
    assert Counter(places) == {n: often for n, often in enumerate(found) if often}
    assert places == spread(weights, count, random.Random(seed))


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 99), st.data())
def test_no_group_has_one_twice(options, groups, seed, data):
    size = data.draw(st.integers(1, options))
    found = spread_distinct([1] * options, groups, size, random.Random(seed))
    rows = [found[at : at + size] for at in range(0, len(found), size)]
    assert all(len(set(row)) == size for row in rows)
    counts = Counter(found)
    assert sum(counts.values()) == groups * size
    assert all(abs(counts[n] - groups * size / options) < 1 for n in range(options))


@given(st.integers(-5, 5), st.integers(0, 9), st.integers(1, 60), st.integers(0, 99))
def test_a_range_is_filled_evenly(low, width, count, seed):
    whole = strata(low, low + width, count, random.Random(seed))
    assert all(isinstance(value, int) and low <= value <= low + width for value in whole)
    parts = strata(float(low), float(low + width), count, random.Random(seed))
    assert all(low <= value <= low + width for value in parts)
    if width:
        assert sorted(int((v - low) / width * count * 0.999999) for v in parts) == list(
            range(count)
        )


@given(WEIGHTS, st.integers(1, 40), st.integers(0, 99), st.data())
def test_groups_of_distinct_ones_meet_every_quota_that_can_be_met(weights, groups, seed, data):
    size = data.draw(st.integers(1, len(weights)))
    wanted = quotas(weights, groups * size, random.Random(seed))
    found = Counter(spread_distinct(weights, groups, size, random.Random(seed)))
    if max(wanted) <= groups:
        assert found == {n: often for n, often in enumerate(wanted) if often}
    else:
        assert sum(found.values()) == groups * size


@given(st.integers(-5, 5), st.integers(0, 9), st.integers(1, 5), st.integers(0, 99))
def test_each_whole_number_of_a_range_comes_equally_often(low, width, times, seed):
    found = strata(low, low + width, times * (width + 1), random.Random(seed))
    assert Counter(found) == dict.fromkeys(range(low, low + width + 1), times)
