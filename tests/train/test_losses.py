"""Losses against the reference values of the papers' formulas, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.train import losses
from curate.train.losses import LogRatios

LN2 = math.log(2)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs(chosen: float = 1.0, rejected: float = -2.0) -> LogRatios:
    # Policy -10 and -14, reference -11 and -12, 5 and 4 tokens: h = 3.
    return LogRatios(tensor(chosen), tensor(rejected), tensor(5), tensor(4))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sigmoid", 0.5543552445),
        ("ipo_sum", 4.0),
        ("ipo", 18.49),
        ("hinge", 0.7),
        ("sigmoid_norm", 0.6587595555),
    ],
)
def test_reference_values_of_pairs(name: str, expected: float) -> None:
    assert losses.pair_loss(name, pairs(), beta=0.1).item() == pytest.approx(expected, abs=1e-10)


def test_cdpo_is_a_soft_label() -> None:
    soft = losses.pair_loss("sigmoid", pairs(), beta=0.1, p_chosen=tensor(0.9))
    assert soft.item() == pytest.approx(0.5843552445, abs=1e-10)


def test_robust() -> None:
    found = losses.robust(pairs(), beta=0.1, noise=0.1)
    assert found.item() == pytest.approx(0.5168552445, abs=1e-10)


@pytest.mark.parametrize(
    ("z", "good", "bad"), [(0.0, 0.4750208125, 0.4501660027), (0.5, 0.4875026035, 0.4378234991)]
)
def test_kto(z: float, good: float, bad: float) -> None:
    found = losses.kto(tensor(1, -2), torch.tensor([True, False]), tensor(z), beta=0.1)
    assert found.tolist() == pytest.approx([good, bad], abs=1e-10)


def test_kto_weighs_the_classes() -> None:
    given_ = (tensor(1, -2), torch.tensor([True, False]), tensor(0))
    plain = losses.kto(*given_, beta=0.1)
    assert losses.kto(*given_, beta=0.1, weights=(2, 3)).tolist() == pytest.approx(
        [2 * plain[0].item(), 3 * plain[1].item()]
    )


def test_simpo_and_orpo() -> None:
    chosen, rejected = tensor(-10 / 5), tensor(-14 / 4)
    simpo = losses.simpo(chosen, rejected, beta=2, gamma=1)
    assert simpo.item() == pytest.approx(0.1269280110, abs=1e-10)
    orpo = losses.orpo(chosen, rejected, weight=0.1)
    assert orpo.item() == pytest.approx(2.0181438043, abs=1e-10)
    odds = (orpo - 2).item() * 10
    assert odds == pytest.approx(-math.log(1 / (1 + math.exp(-1.6147507416))), abs=1e-9)


def test_orpo_of_certain_tokens_is_finite_and_has_a_gradient() -> None:
    chosen = torch.tensor([0.0, -1e-9], dtype=torch.float64, requires_grad=True)
    loss = losses.orpo(chosen, tensor(-1, -1)).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(chosen.grad).all()


@given(st.floats(-30, -1e-6))
def test_log1mexp(x: float) -> None:
    # math.log1p and expm1 each are accurate on one side of ln 2.
    exact = math.log(-math.expm1(x)) if x > -LN2 else math.log1p(-math.exp(x))
    assert losses.log1mexp(tensor(x)).item() == pytest.approx(exact, rel=1e-12)


def test_at_the_start_all_losses_are_what_theory_says() -> None:
    start = pairs(0.0, 0.0)
    expected = {"sigmoid": LN2, "sigmoid_norm": LN2, "hinge": 1.0, "ipo": 25.0, "ipo_sum": 25.0}
    found = {name: losses.pair_loss(name, start, beta=0.1).item() for name in losses.PAIR_LOSSES}
    assert found == pytest.approx(expected, abs=1e-10)
    assert losses.robust(start, beta=0.1, noise=0.1).item() == pytest.approx(LN2)
    both = losses.kto(tensor(0, 0), torch.tensor([True, False]), tensor(0), beta=0.1)
    assert both.tolist() == pytest.approx([0.5, 0.5])


def test_a_label_of_one_half_has_no_gradient_at_zero() -> None:
    for name in losses.PAIR_LOSSES:
        chosen = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        start = LogRatios(chosen, tensor(0), tensor(5), tensor(4))
        losses.pair_loss(name, start, beta=0.1, p_chosen=tensor(0.5)).sum().backward()
        assert chosen.grad.item() == pytest.approx(0, abs=1e-15), name


@given(st.floats(-20, 20), st.floats(0, 1))
def test_soft_labels_interpolate_between_the_two_orders(h: float, p: float) -> None:
    one = LogRatios(tensor(h), tensor(0), tensor(3), tensor(3))
    other = LogRatios(tensor(0), tensor(h), tensor(3), tensor(3))
    for name in losses.PAIR_LOSSES:
        soft = losses.pair_loss(name, one, beta=0.1, p_chosen=tensor(p))
        swapped = losses.pair_loss(name, other, beta=0.1, p_chosen=tensor(1 - p))
        assert soft.item() == pytest.approx(swapped.item(), rel=1e-9, abs=1e-9)


def test_the_gradient_of_dpo() -> None:
    chosen = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    losses.pair_loss(
        "sigmoid", LogRatios(chosen, tensor(0), tensor(1), tensor(1)), beta=0.1
    ).sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.1 / (1 + math.exp(0.3)), rel=1e-12)


def test_rrhf_on_the_swapped_list() -> None:
    assert losses.rrhf(tensor(-1.5, -1.0, -2.0), tensor(3, 2, 1)).item() == pytest.approx(0.5)
    assert losses.rrhf(tensor(-1.0, -1.5, -2.0), tensor(3, 2, 1)).item() == 0
    # Equal rewards ask for no order.
    assert losses.rrhf(tensor(-1.5, -1.0), tensor(2, 2)).item() == 0


def test_pro_against_a_hand_computation() -> None:
    # Best first: rewards 3, 2, 1; scores -1.5, -1.0, -2.0. For the first, T = 2 (the largest gap).
    first = -math.log(
        math.exp(-1.5 * 2) / (math.exp(-1.5 * 2) + math.exp(-1.0 * 1) + math.exp(-2.0 * 2))
    )
    second = -math.log(math.exp(-1.0 * 1) / (math.exp(-1.0 * 1) + math.exp(-2.0 * 1)))
    found = losses.pro(tensor(-1.5, -1.0, -2.0), tensor(3, 2, 1))
    assert found.item() == pytest.approx(first + second, abs=1e-12)
    shuffled = losses.pro(tensor(-2.0, -1.5, -1.0), tensor(1, 3, 2))
    assert shuffled.item() == pytest.approx(first + second, abs=1e-12)
    assert losses.pro(tensor(-1.0, -2.0), tensor(1, 1)).item() == 0


def test_the_reward_of_a_list_is_a_mean_over_its_pairs() -> None:
    rewards, scores = tensor(0.5, -0.2, 0.1, 2.0), tensor(4, 3, 2, 1)
    by_hand = sum(
        -math.log(1 / (1 + math.exp(-(rewards[i] - rewards[j]).item())))
        for i in range(4)
        for j in range(i + 1, 4)
    )
    assert losses.ranked_reward(rewards, scores).item() == pytest.approx(by_hand / 6)
    two = losses.ranked_reward(tensor(0.0, 0.0), tensor(1, 0))
    assert two.item() == pytest.approx(0.693147, abs=1e-6)
    one = losses.ranked_reward(tensor(1.0, 0.0), tensor(1, 0))
    assert one.item() == pytest.approx(0.313262, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0, 1))
def test_the_reward_of_a_soft_label(difference: float, p: float) -> None:
    s = 1 / (1 + math.exp(-difference))
    expected = -(p * math.log(s) + (1 - p) * math.log(1 - s))
    found = losses.ranked_reward(tensor(difference, 0.0), tensor(1, 0), p_chosen=tensor(p))
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_weights_of_one_are_plain_cross_entropy() -> None:
    log_probs = tensor(-1, -2, 0, -3, 0, 0).reshape(2, 3)
    assert losses.weighted_nll(log_probs, tensor(1, 1), 3).item() == pytest.approx(2)
    assert losses.weighted_nll(log_probs, tensor(1, 0.1), 3).item() == pytest.approx(1.1)


def test_kl_of_tokens() -> None:
    policy, reference = tensor(0, math.log(3)), tensor(0, 0)
    by_hand = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert losses.token_kl(policy, reference).item() == pytest.approx(by_hand)
    assert losses.token_kl(policy, policy + 7).item() == pytest.approx(0)


def test_advantages_against_a_hand_computation() -> None:
    rewards = tensor(0.0, 0.5, 1.0, 9.0).reshape(1, 4)
    values = tensor(0.2, 0.4, 0.6, 9.0).reshape(1, 4)
    mask = torch.tensor([[True, True, True, False]])
    found, returns = losses.advantages(rewards, values, mask, gamma=0.9, lam=0.8)
    last = 1.0 - 0.6
    middle = 0.5 + 0.9 * 0.6 - 0.4 + 0.9 * 0.8 * last
    first = 0.0 + 0.9 * 0.4 - 0.2 + 0.9 * 0.8 * middle
    assert found[0].tolist() == pytest.approx([first, middle, last, 0.0])
    assert returns[0].tolist() == pytest.approx([first + 0.2, middle + 0.4, 1.0, 0.0])


def test_advantages_with_lambda_one_are_returns_less_values() -> None:
    rewards, values = tensor(1, 2, 3).reshape(1, 3), tensor(0.5, 0.5, 0.5).reshape(1, 3)
    found, returns = losses.advantages(rewards, values, torch.ones(1, 3), gamma=1.0, lam=1.0)
    assert returns[0].tolist() == pytest.approx([6, 5, 3])
    assert found[0].tolist() == pytest.approx([5.5, 4.5, 2.5])


def test_ppo_against_a_hand_computation() -> None:
    old, mask = tensor(0, 0, 0, 0).reshape(1, 4), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    new = tensor(math.log(1.5), math.log(0.5), math.log(1.1), 5).reshape(1, 4)
    advantage = tensor(1.0, -2.0, -1.0, 9.0).reshape(1, 4)
    # 1.5 is clipped to 1.2; 0.5 with a negative advantage to 0.8, and the worse of both counts.
    by_hand = (-1.2 + 2.0 * 0.8 + 1.1) / 3
    assert losses.ppo_policy(new, old, advantage, mask).item() == pytest.approx(by_hand)
    values, before = tensor(1.0, 0.1, 0.0, 0).reshape(1, 4), tensor(0, 0, 0, 0).reshape(1, 4)
    returns = tensor(1.0, 1.0, -1.0, 7).reshape(1, 4)
    by_hand = 0.5 * ((0.2 - 1) ** 2 + 0.9**2 + 1.0) / 3
    assert losses.ppo_value(values, before, returns, mask).item() == pytest.approx(by_hand)


def test_whitening() -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    white = losses.whiten(tensor(1, 2, 6, 100).reshape(1, 4), mask)
    assert white[0, 3] == 0
    assert white.sum().item() == pytest.approx(0, abs=1e-12)
    assert (white**2).sum().item() / 3 == pytest.approx(1)
