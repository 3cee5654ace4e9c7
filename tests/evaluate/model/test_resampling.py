"""Intervals cover what they should, and paired tests find what is there."""

import numpy as np
import pytest

from curate.evaluate.model.resampling import bootstrap, paired_test


def test_an_interval_covers_the_mean_as_often_as_it_says():
    dice, covered = np.random.default_rng(1), 0
    for _ in range(200):
        found = bootstrap(dice.random(60) < 0.3, draws=400)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_items_of_one_prompt_are_drawn_together():
    values, prompts = np.repeat([0.0, 1.0] * 20, 10), np.repeat(np.arange(40), 10)
    alone, together = bootstrap(values), bootstrap(values, prompts)
    assert together.value == alone.value == 0.5
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
    assert bootstrap(values, prompts) == together
    assert bootstrap([]) is None


def test_a_real_difference_is_found_and_none_where_there_is_none():
    dice = np.random.default_rng(2)
    hard = dice.random(300)
    better = (dice.random(300) < hard * 0.7 + 0.3).astype(float)
    worse = (dice.random(300) < hard * 0.7).astype(float)
    assert paired_test(better, worse).p < 0.001
    assert paired_test(better, worse).difference.low > 0
    same = paired_test(better, better)
    assert (same.p, same.difference.value, same.prompts) == (1.0, 0.0, 300)


def test_the_p_value_is_uniform_where_nothing_differs():
    dice = np.random.default_rng(3)
    found = [paired_test(dice.random(40), dice.random(40), draws=500).p for _ in range(150)]
    assert 0.02 <= np.mean(np.array(found) < 0.1) <= 0.2


def test_few_prompts_are_counted_exactly():
    # Eight wins of eight: as extreme only with all signs one way, two of 256 ways.
    assert paired_test(np.ones(8), np.zeros(8), draws=20_000).p == pytest.approx(2 / 256, rel=0.3)


def test_two_models_need_the_same_items():
    with pytest.raises(ValueError, match="2 and 3 items"):
        paired_test([1, 2], [1, 2, 3])
