"""The test by hand, and its false claims and power where the truth is known."""

import math

import numpy as np
import pytest

from curate.evaluate.proof.draw_test import (
    Measured,
    compare_groups,
    compare_paired,
    compare_with_arm,
    compare_with_draws,
    mean_variance,
    paired_t,
    satterthwaite,
)

# Two held-out rows, three draws; all of it can be done on paper.
CURATED = np.array([1.0, 2.0])
DRAWS = np.array([[1.2, 2.4], [1.4, 2.2], [1.6, 2.6]])
BY_HAND = Measured(CURATED, DRAWS, {"longest": np.array([0.9, 2.7])}, np.array([0, 1]))


def test_a_comparison_with_draws_by_hand() -> None:
    # Means of draws 1.8, 1.8, 2.1: mean 1.9, s^2 = 0.03; curated 1.5; d = 0.4.
    # V_d = 0.03 * 4/3 = 0.04; row differences 0.4, 0.4: V_r = 0.
    found = compare_with_draws(BY_HAND, "random")
    assert (found.effect, found.error, found.df) == pytest.approx((0.4, 0.2, 2))
    assert found.t == pytest.approx(2.0)
    # P(|T| > 2) with df 2 is 1 - 2 / sqrt(2 + 4).
    assert found.p == pytest.approx(1 - 2 / math.sqrt(6))
    assert (found.low, found.high) == pytest.approx(
        (0.4 - 9.9248 * 0.2, 0.4 + 9.9248 * 0.2), abs=1e-4
    )
    assert found.draw_sd == pytest.approx(math.sqrt(0.03))
    assert (found.rank, found.draws_only_p) == (1, found.p)


def test_rows_and_degrees_of_freedom_by_hand() -> None:
    # Against the longest: differences -0.1 and 0.7, mean 0.3, V_r = 0.32 / 2 = 0.16;
    # V_d = 2 * 0.03 = 0.06; df = 0.22^2 / (0.06^2 / 2 + 0.16^2 / 1).
    found = compare_with_arm(BY_HAND, "longest")
    assert found.effect == pytest.approx(0.3)
    assert found.error == pytest.approx(math.sqrt(0.22))
    assert found.df == pytest.approx(0.22**2 / (0.06**2 / 2 + 0.16**2))
    assert found.draws_only_t == pytest.approx(0.3 / math.sqrt(0.06))
    assert found.rank is None


def test_versions_by_hand() -> None:
    # Means of three versions 1.4, 1.5, 1.6: v^2 = 0.01, and V_d = 0.04 + 0.01 / 3.
    versions = BY_HAND._replace(versions=np.array([1.4, 1.5, 1.6]))
    found = compare_with_draws(versions, "random")
    assert found.effect == pytest.approx(0.4)
    assert found.error == pytest.approx(math.sqrt(0.04 + 0.01 / 3))
    assert found.df == pytest.approx((0.04 + 0.01 / 3) ** 2 / (0.04**2 / 2 + (0.01 / 3) ** 2 / 2))
    longest = compare_with_arm(versions, "longest")
    assert longest.error == pytest.approx(math.sqrt(0.22 + 0.01 / 3))


@pytest.mark.slow
def test_versions_that_choose_by_chance_are_seldom_claimed() -> None:
    # Each version is one more draw, or all share half of their luck: 2,000 times.
    dice, claimed = np.random.default_rng(3), {0.0: 0, 0.5: 0}
    for shared in claimed:
        for _ in range(2000):
            luck = dice.normal(0, 1, 9) * math.sqrt(1 - shared)
            own = dice.normal(0, math.sqrt(shared)) + dice.normal(0, 1, 4) * math.sqrt(1 - shared)
            draws = luck[:8] + dice.normal(0, math.sqrt(shared), 8)
            noise = dice.normal(0, 0.1, (9, 200))
            measured = Measured(
                own.mean() + noise[0], draws[:, None] + noise[1:], {}, np.arange(200), True, own
            )
            claimed[shared] += compare_with_draws(measured, "random").p < 0.01
    assert all(count <= 20 for count in claimed.values())


def test_where_more_is_better_the_sign_turns() -> None:
    more = compare_with_draws(BY_HAND._replace(lower=False), "random")
    assert more.effect == pytest.approx(-0.4)
    assert more.rank == 4


def test_equal_arms_do_not_differ() -> None:
    same = np.array([[1.0, 2.0]] * 4)
    found = compare_with_draws(Measured(same[0], same, {}, np.arange(2)), "random")
    assert (found.effect, found.p, found.low, found.high) == (0, 1, 0, 0)


def test_rows_of_a_group_of_prompts_count_as_one_draw() -> None:
    values = np.array([1.0, 1.0, 3.0, 3.0])
    apart, groups = mean_variance(values, np.arange(4))
    assert (apart, groups) == (pytest.approx(4 / 3 / 4), 4)
    # Two groups with sums -2 and 2 about the mean: (4 + 4) / 16 * 2.
    assert mean_variance(values, np.array([0, 0, 1, 1])) == (pytest.approx(1.0), 2)


def test_satterthwaite_lies_between_its_parts() -> None:
    assert satterthwaite([(1.0, 7), (0.0, 999)]) == 7
    assert satterthwaite([(1.0, 7), (1.0, 7)]) == pytest.approx(14)
    assert satterthwaite([(0.0, 7), (0.0, 999)]) == 7


# The standard deviations that the protocol was simulated with: of draws, of a seed within a draw,
# of seeds; and of a held-out row's difference.
BETWEEN, WITHIN, SEEDS, ROWS = 0.0077, 0.0058, 0.0004, 0.05


def simulated(
    generator: np.random.Generator, draws: int, seeds: int, effect: float = 0.0, rows: int = 60
) -> tuple[Measured, np.ndarray, np.ndarray]:
    """Return scores of one curated subset and of draws, and both's means by seed."""
    luck = generator.normal(0, BETWEEN, draws + 1)[:, None]
    noise = generator.normal(0, WITHIN, (draws + 1, seeds))
    scores = luck + noise + generator.normal(0, SEEDS, seeds)[None]
    scores[0] -= effect
    # A subset suits some rows better than others, and rows are drawn, too.
    each = generator.normal(0, ROWS, (draws + 1, rows))
    values = 3 + scores.mean(1)[:, None] + each
    return Measured(values[0], values[1:], {}, np.arange(rows)), scores[0], scores[1:]


def test_false_claims_where_there_is_no_effect() -> None:
    generator = np.random.default_rng(17)
    ours = over_seeds = 0
    for _ in range(600):
        measured, own, draws = simulated(generator, 8, 10)
        ours += compare_with_draws(measured, "random").p < 0.01
        over_seeds += paired_t(own, draws[0]) < 0.01
    # 1 % would be 6; 18 are passed with a chance of 1e-5. The paired t over ten seeds takes the
    # luck of one draw for an effect.
    assert ours <= 18
    assert over_seeds >= 180


@pytest.mark.parametrize("draws", [8, 12])
def test_the_smallest_visible_effect_is_seen_four_times_of_five(draws: int) -> None:
    generator = np.random.default_rng(5)
    spread = math.hypot(BETWEEN, WITHIN)
    # Rows aside: their noise is left out.
    shift = {8: 4.79, 12: 4.2}[draws] * spread
    seen = 0
    for _ in range(600):
        scores = generator.normal(0, spread, draws + 1)
        values = np.repeat(scores[:, None], 3, axis=1)
        measured = Measured(values[0] - shift, values[1:], {}, np.arange(3))
        seen += compare_with_draws(measured, "random").p < 0.01
    assert 0.74 < seen / 600 < 0.86


def test_two_datasets_by_draws_of_each() -> None:
    one, other = np.array([[1.0, 2], [1.2, 2.2]]), np.array([[1.4, 2.6], [1.6, 2.8]])
    found = compare_groups(one, other, (0.5, 0.5), np.arange(2), "b")
    # Means 1.5, 1.7 and 2.0, 2.2: s^2 = 0.02 each, twice 0.02 * (1/2 + 1); rows 0.4, 0.6.
    assert found.effect == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt(0.06 + 0.01))
    with pytest.raises(ValueError, match="between 0 and 1"):
        compare_groups(one, other, (0.5, 1.0), np.arange(2), "b")


def test_draws_of_a_dataset_stand_for_its_source() -> None:
    # Two datasets from one source: the mean of draws without replacement also has the luck of the
    # dataset itself, which the scale f / (1 - f) accounts for.
    generator = np.random.default_rng(2)
    claims = naive = 0
    for _ in range(400):
        sides = []
        for size in (120, 60):
            influence = generator.normal(0, 1, size)
            means = [generator.choice(influence, 30, replace=False).mean() for _ in range(8)]
            sides.append(np.repeat(np.array(means)[:, None], 2, axis=1))
        found = compare_groups(sides[0], sides[1], (0.25, 0.5), np.arange(2), "b")
        claims += found.p < 0.05
        # As if each dataset were all that there is.
        error = math.sqrt(sum(side.mean(1).var(ddof=1) / 8 for side in sides))
        naive += abs(found.effect) / error > 2.2
    assert claims / 400 < 0.085
    assert naive / 400 > 0.15


def test_ways_to_train_are_compared_on_the_same_draws() -> None:
    draws = np.array([[1.0, 2], [5, 6], [9, 10]])
    found = compare_paired(draws - [[0.1], [0.2], [0.3]], draws, np.arange(2), "full")
    assert found.effect == pytest.approx(0.2)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
