"""The space of linguistic form: length taken out, spreads, and a map that is always the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curate.kernels.arrays.form_space import (
    at_equal_length,
    form_space,
    length_weights,
    plane,
    weighted_variance,
)


def made(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return features of which the first two follow the length, and the words."""
    draw = np.random.default_rng(seed)
    words = draw.integers(20, 400, rows).astype(np.float64)
    features = draw.normal(size=(rows, 4))
    features[:, 0] += 3 * np.log(words)
    features[:, 1] -= np.log(words)
    features[::7, 2] = np.nan
    features[:, 3] = 5.0
    return features, words


def test_what_is_left_does_not_depend_on_length() -> None:
    features, words = made(1)
    left, share = at_equal_length(features[:, 0], words)
    assert np.corrcoef(left, np.log(words))[0, 1] == pytest.approx(0, abs=1e-12)
    assert share == pytest.approx(np.corrcoef(features[:, 0], np.log(words))[0, 1] ** 2)
    assert left.mean() == pytest.approx(features[:, 0].mean())


def test_features_are_in_units_of_their_spread_and_constant_ones_are_none() -> None:
    features, words = made(2)
    space = form_space(features, words, control_length=True)
    assert np.isnan(space.values[:, 3]).all()
    assert np.isnan(space.values[::7, 2]).all()
    assert np.nanstd(space.values[:, :3], axis=0) == pytest.approx([1, 1, 1])
    assert space.spread(np.arange(400)) == pytest.approx(1)
    raw = form_space(features, words, control_length=False)
    assert not raw.explained.any()


def test_the_spread_of_a_consistent_group_is_small() -> None:
    features, words = made(3)
    features[:100, :3] = features[1, :3] + 0.1 * np.random.default_rng(4).normal(size=(100, 3))
    space = form_space(features, words, control_length=False)
    whole = np.nanvar(features[:, :3], axis=0)
    expected = np.sqrt(np.mean(features[:100, :3].var(axis=0) / whole))
    assert space.spread(np.arange(100)) == pytest.approx(expected)
    assert space.spread(np.arange(100)) < 0.15
    assert math.isnan(space.spread(np.arange(1)))


def test_weights_give_all_groups_the_same_lengths() -> None:
    draw = np.random.default_rng(5)
    words = np.concatenate([draw.integers(1, 100, 600), draw.integers(50, 300, 300)]).astype(float)
    groups = np.repeat([0, 1], [600, 300])
    weights = length_weights(words, groups)
    edges = np.quantile(words, np.linspace(0, 1, 21)[1:-1], method="inverted_cdf")
    classes = np.searchsorted(edges, words)
    masses = [np.bincount(classes[groups == g], weights[groups == g], 20) for g in (0, 1)]
    assert masses[0] == pytest.approx(masses[1])
    assert 0.2 < masses[0].sum() < 0.6
    assert not weights[words < 45].any()


def test_a_weighted_variance_is_that_of_repeated_values() -> None:
    values, weights = np.array([1.0, 4.0, np.nan, 9.0]), np.array([2.0, 1.0, 5.0, 3.0])
    assert weighted_variance(values, weights) == pytest.approx(np.var([1, 1, 4, 9, 9, 9]))
    assert math.isnan(weighted_variance(values, np.array([1.0, 0, 1, 0])))


def test_the_map_is_the_plane_of_the_largest_variance_with_fixed_signs() -> None:
    features, words = made(6)
    space = form_space(features, words, control_length=True)
    found, again = plane(space), plane(space)
    assert np.array_equal(found.places, again.places)
    filled = np.nan_to_num(space.values[:, :3])
    values, vectors = np.linalg.eigh(np.cov(filled.T))
    for axis in (0, 1):
        direction = vectors[:, -1 - axis]
        direction = direction * np.sign(direction[abs(direction).argmax()])
        assert found.loadings[axis, :3] == pytest.approx(direction)
        assert found.places[:, axis] == pytest.approx((filled - filled.mean(0)) @ direction)
        assert found.shares[axis] == pytest.approx(values[-1 - axis] / values.sum())
    assert found.loadings[0, 3] == 0
    mirrored = plane(space._replace(values=-space.values))
    assert mirrored.places == pytest.approx(-found.places)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_texts_have_a_map(rows: int) -> None:
    features, words = made(7)
    found = plane(form_space(features[:rows], words[:rows], control_length=True))
    assert found.places.shape == (rows, 2)
    assert np.isfinite(found.places).all()
