"""The length-controlled win rate finds what is planted."""

import numpy as np
import pytest

from curate.evaluate.model.length_control import Comparisons, LengthControl, fit_length_control


def planted(length, difficulty, model, count=4000, seed=7):
    """Return comparisons whose soft wins are exactly those of the model."""
    dice = np.random.default_rng(seed)
    longer = dice.normal(100, 300, count)
    hard = dice.normal(0, 1, count)
    margin = length * np.tanh(longer / longer.std(ddof=1)) + difficulty * hard + model
    return Comparisons(1 / (1 + np.exp(-margin)), longer, hard)


def test_planted_weights_are_found():
    found = fit_length_control(planted(-1.5, 0.7, 0.4))
    assert found == pytest.approx((-1.5, 0.7, 0.4), abs=0.02)


def test_a_win_rate_that_length_explains_goes_to_a_half():
    compared = planted(-2.0, 0.0, 0.0)
    # The model's answers are shorter by 100 characters in the mean, and lose.
    assert compared.wins.mean() < 0.45
    assert fit_length_control(compared).win_rate(compared.difficulty) == pytest.approx(
        0.5, abs=0.02
    )


def test_swapping_model_and_baseline_swaps_the_win_rate():
    one = planted(-1.0, 0.5, 0.3)
    other = Comparisons(1 - one.wins, -one.longer, -one.difficulty)
    rates = [fit_length_control(c).win_rate(c.difficulty) for c in (one, other)]
    assert sum(rates) == pytest.approx(1, abs=1e-3)


def test_without_difficulties_the_model_has_one_win_rate():
    one = planted(-1.0, 0.0, 0.3)._replace(difficulty=np.zeros(4000))
    found = fit_length_control(one)
    assert found.difficulty == 0
    assert found.win_rate() == pytest.approx(1 / (1 + np.exp(-0.3)), abs=5e-3)


def test_anchors_hold_the_weight_of_length():
    few = planted(0.0, 0.0, 0.5, count=60)
    anchor = planted(-2.0, 0.0, 0.0, count=2000, seed=8)
    alone, held = fit_length_control(few), fit_length_control(few, [anchor, anchor])
    assert abs(alone.length) < 0.2
    assert held.length < -1


def test_equal_lengths_leave_the_win_rate_as_it_is():
    wins = np.tile([0.9, 0.4], 50)
    found = fit_length_control(Comparisons.of(wins, np.full(100, 10), np.full(100, 10)))
    assert found.win_rate() == pytest.approx(0.65, abs=1e-3)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="3 comparisons"):
        fit_length_control(Comparisons.of([1, 0, 1], [1, 2, 3], [3, 2, 1]))
    with pytest.raises(ValueError, match="a probability from 0 to 1"):
        fit_length_control(Comparisons.of([2] * 20, range(20), range(20)))
    assert len(Comparisons.of([float("nan"), 1], [1, 2], [3, 4]).wins) == 1


def test_one_model_in_the_place_of_another():
    one, other = LengthControl(-1, 0.5, 0.2), LengthControl(-2, 0.1, -0.3)
    hard = np.array([-1.0, 0.0, 2.0])
    expected = 1 / (1 + np.exp(-(0.5 + 0.4 * hard)))
    assert one.win_rate(hard, over=other) == pytest.approx(expected.mean())
