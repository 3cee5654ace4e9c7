"""Strengths that were planted are found again, and so are circles."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.votes.strengths import bradley_terry, has_cycle


def test_expected_wins_give_the_planted_strengths():
    planted = np.array([1.2, 0.3, -0.4, -1.1])
    games = np.array([[0, 40, 7, 30], [40, 0, 25, 12], [7, 25, 0, 90], [30, 12, 90, 0]])
    chance = 1 / (1 + np.exp(-np.subtract.outer(planted, planted)))
    assert bradley_terry(games * chance) == pytest.approx(planted, abs=1e-6)


def test_drawn_votes_give_them_within_their_errors():
    planted = np.array([0.9, 0.1, -1.0])
    dice, wins = np.random.default_rng(5), np.zeros((3, 3))
    for one, other in permutations(range(3), 2):
        won = dice.binomial(4000, 1 / (1 + np.exp(planted[other] - planted[one])))
        wins[one, other] += won
        wins[other, one] += 4000 - won
    assert bradley_terry(wins) == pytest.approx(planted, abs=0.08)


def test_two_answers_have_the_log_odds_of_their_votes():
    found = bradley_terry([[0, 3], [1, 0]])
    assert found[0] - found[1] == pytest.approx(np.log(3))


def test_an_answer_that_never_wins_needs_a_prior():
    wins = [[0, 3], [0, 0]]
    with pytest.raises(ValueError, match="need a prior above 0"):
        bradley_terry(wins)
    found = bradley_terry(wins, prior=0.5)
    assert found[0] - found[1] == pytest.approx(np.log(7))


@given(st.integers(3, 6), st.data())
def test_a_circle_is_found_wherever_it_is(size, data):
    order = data.draw(st.permutations(range(size)))
    wins = np.zeros((size, size))
    for place, one in enumerate(order):
        wins[one, order[place + 1 :]] = data.draw(st.integers(1, 3))
    assert not has_cycle(wins)
    first, last = order[0], order[data.draw(st.integers(2, size - 1))]
    wins[last, first] = 9
    assert has_cycle(wins)
    assert not has_cycle(np.ones((size, size)))


def test_strengths_that_are_not_reached_are_said_to_be_none():
    """A chain of lopsided votes takes more rounds than there are: 6.9 apart, 6.2 were returned."""
    wins = np.diag([1000.0] * 11, 1) + np.diag([1.0] * 11, -1)
    with pytest.raises(ValueError, match="larger prior"):
        bradley_terry(wins)
    assert np.diff(bradley_terry(wins, prior=1)).max() < 0
