"""Rankings of candidates: what they imply, against counts by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.votes.rankings import implied_preferences, preferences_alike, shares_beaten

RANKINGS = st.lists(st.integers(1, 5), min_size=2, max_size=7)


def test_a_ranking_says_something_of_every_two_candidates():
    # In the order (0, 1), (0, 2), (1, 2).
    assert implied_preferences([2, 1, 2]) == [-1, 0, 1]


def test_the_share_that_is_alike_is_counted_over_pairs():
    assert preferences_alike([1, 2, 3], [1, 3, 2]) == pytest.approx(2 / 3)
    assert preferences_alike([1, 1, 3], [1, 2, 3]) == pytest.approx(2 / 3)
    assert preferences_alike([1, 1, 1], [4, 4, 4]) == 1
    for one, other in (([1, 2], [1, 2, 3]), ([1], [1])):
        with pytest.raises(ValueError, match="do not compare"):
            preferences_alike(one, other)


def test_the_share_of_the_others_that_is_beaten():
    assert shares_beaten([1, 2, 3]) == [1, 0.5, 0]
    assert shares_beaten([2, 1, 2]) == [0.25, 1, 0.25]


@given(RANKINGS)
def test_the_mean_share_is_one_half_and_better_ranks_have_more(ranks):
    shares = shares_beaten(ranks)
    assert sum(shares) == pytest.approx(len(ranks) / 2)
    assert implied_preferences(ranks) == implied_preferences([-share for share in shares])
