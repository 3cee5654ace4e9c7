"""Losses as functions of log-probabilities, apart from any trainer, so that each can be checked.

TRL's trainers compute the losses that they have; these are the ones that it lacks or computes
otherwise (soft labels, IPO by sums, ORPO with its NLL over the answer, SimPO, RRHF, PRO, ranked
rewards, PPO), and the forms they are compared with. All take float tensors of any precision and
return one loss per pair, list or row unless they say otherwise. Log-probabilities are sums over an
answer's tokens, end of turn included, unless called a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from curate.errors import UsageError


class LogRatios(NamedTuple):
    """Log-ratios log p(policy) - log p(reference) of both sides, and their lengths in tokens."""

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def margin(self) -> Tensor:
        """The difference h of the summed log-ratios."""
        return self.chosen - self.rejected

    @property
    def mean_margin(self) -> Tensor:
        """The difference of the log-ratios per token."""
        return self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens


# What a loss makes of a margin, and whether that is one of means per token rather than of sums.
PAIR_LOSSES: dict[str, tuple[Callable[[Tensor, float], Tensor], bool]] = {
    # DPO, Rafailov et al. 2023, arXiv 2305.18290
    "sigmoid": (lambda h, beta: -F.logsigmoid(beta * h), False),
    # length-normalised DPO, Lambert et al. 2024 (Tulu 3)
    "sigmoid_norm": (lambda h, beta: -F.logsigmoid(beta * h), True),
    # SLiC, Zhao et al. 2023, arXiv 2305.10425
    "hinge": (lambda h, beta: torch.relu(1 - beta * h), False),
    # Azar et al. 2023, arXiv 2310.12036: per token as in TRL, by sums as in Mitchell's repository
    "ipo": (lambda h, beta: (h - 1 / (2 * beta)) ** 2, True),
    "ipo_sum": (lambda h, beta: (h - 1 / (2 * beta)) ** 2, False),
}


def pair_loss(
    name: str, pairs: LogRatios, *, beta: float, p_chosen: Tensor | None = None
) -> Tensor:
    """Return the loss `name` of `PAIR_LOSSES`, with a soft label where `p_chosen` is given.

    With the probability p that `chosen` is better it is p L(h) + (1 - p) L(-h). For `sigmoid` that
    is a cross-entropy, and p = 1 - e is cDPO with label noise e (Mitchell 2023).
    """
    loss, per_token = PAIR_LOSSES[name]
    h = pairs.mean_margin if per_token else pairs.margin
    if p_chosen is None:
        return loss(h, beta)
    return p_chosen * loss(h, beta) + (1 - p_chosen) * loss(-h, beta)


def robust(pairs: LogRatios, *, beta: float, noise: float) -> Tensor:
    """Return the DPO loss that label noise `noise` below 0.5 leaves unbiased (arXiv 2403.00409)."""
    loss, _ = PAIR_LOSSES["sigmoid"]
    clean, flipped = loss(pairs.margin, beta), loss(-pairs.margin, beta)
    return ((1 - noise) * clean - noise * flipped) / (1 - 2 * noise)


def kto(
    ratios: Tensor,
    desirable: Tensor,
    kl: Tensor,
    *,
    beta: float,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Return the KTO loss of log-ratios (Ethayarajh et al. 2024, arXiv 2402.01306).

    `desirable` are booleans, `kl` the mean log-ratio of mismatched answers (at least 0), and
    `weights` those of desirable and undesirable rows.
    """
    good = weights[0] * (1 - torch.sigmoid(beta * (ratios - kl)))
    bad = weights[1] * (1 - torch.sigmoid(beta * (kl - ratios)))
    return torch.where(desirable, good, bad)


def log1mexp(x: Tensor) -> Tensor:
    """Return log(1 - exp(x)) for x < 0 without cancellation (Maechler 2012)."""
    # An answer of certain tokens has x = 0, where the value would be -inf.
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    return torch.where(
        x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x.clamp(max=-1e-3)))
    )


def orpo(chosen: Tensor, rejected: Tensor, *, weight: float = 0.1) -> Tensor:
    """Return NLL of the chosen answer plus its odds ratio (Hong et al. 2024, arXiv 2403.07691).

    `chosen` and `rejected` are mean log-probabilities per token of the answers.
    """
    log_odds = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    return -chosen - weight * F.logsigmoid(log_odds)


def simpo(chosen: Tensor, rejected: Tensor, *, beta: float = 2.0, gamma: float = 1.0) -> Tensor:
    """Return the SimPO loss of mean log-probabilities (Meng et al. 2024, arXiv 2405.14734).

    `gamma` is the target margin itself; the paper tunes `gamma / beta`, 0.5 by default.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)


def rrhf(scores: Tensor, rewards: Tensor) -> Tensor:
    """Return the ranking part of RRHF for one list (Yuan et al. 2023, arXiv 2304.05302).

    `scores` are length-normalised log-probabilities of the answers; a pair adds what a worse answer
    leads by.
    """
    leads = scores[:, None] - scores[None, :]
    worse = rewards[:, None] < rewards[None, :]
    return torch.relu(leads)[worse].sum()


def pro(scores: Tensor, rewards: Tensor) -> Tensor:
    """Return the ranking part of PRO for one list (Song et al. 2023, arXiv 2306.17492).

    `scores` are mean log-probabilities. Each answer is contrasted with all worse ones, at
    temperatures that are the differences of their `rewards`. Equal answers do not contrast.
    """
    order = torch.argsort(rewards, descending=True, stable=True)
    scores, rewards = scores[order], rewards[order]
    total = scores.new_zeros(())
    for k in range(len(scores) - 1):
        gaps = rewards[k] - rewards[k + 1 :]
        worse = gaps > 0
        if worse.any():
            best = (scores[k] * gaps.max())[None]
            others = scores[k + 1 :][worse] * gaps[worse]
            total = total + torch.logsumexp(torch.cat([best, others]), 0) - best[0]
    return total


def ranked_reward(
    rewards: Tensor,
    scores: Tensor,
    *,
    margin: Tensor | float = 0.0,
    p_chosen: Tensor | float = 1.0,
) -> Tensor:
    """Return the loss of one list under a reward model: the mean over its pairs.

    The mean is the factor 1 / C(K, 2) of InstructGPT (Ouyang et al. 2022, arXiv 2203.02155), so
    that long rankings count no more than short ones; equal `scores` make no pair. With `p_chosen`
    each pair is a cross-entropy with that label.
    """
    better, worse = torch.nonzero(scores[:, None] > scores[None, :], as_tuple=True)
    difference = rewards[better] - rewards[worse] - margin
    # -log s(-d) = -log s(d) + d.
    return (-F.logsigmoid(difference) + (1 - p_chosen) * difference).mean()


def weighted_nll(log_probs: Tensor, weights: Tensor, tokens: Tensor | int) -> Tensor:
    """Return the cross-entropy of rows with a weight each, divided by `tokens`: one number.

    `log_probs` is (rows, length), 0 where a token is not supervised. With weights of 1 it is the
    plain SFT loss; with a smaller weight for the worse class it is the loss of conditioned cloning
    (C-RLFT, Wang et al. 2023, arXiv 2309.11235).
    """
    return -(weights[:, None] * log_probs).sum() / torch.as_tensor(tokens).clamp(min=1)


def token_kl(policy_logits: Tensor, reference_logits: Tensor) -> Tensor:
    """Return KL(policy || reference) over the vocabulary, at each position."""
    policy, reference = policy_logits.log_softmax(-1), reference_logits.log_softmax(-1)
    return (policy.exp() * (policy - reference)).sum(-1)


def advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Return generalised advantages and returns (Schulman et al. 2015, arXiv 1506.02438).

    All are (rows, steps); behind the last step of `mask` the value is 0.
    """
    mask = mask.to(values.dtype)
    values, rewards = values * mask, rewards * mask
    after = torch.zeros_like(values[:, 0])
    running, out = after.clone(), []
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * after - values[:, t]
        running = (delta + gamma * lam * running) * mask[:, t]
        out.append(running)
        after = values[:, t]
    found = torch.stack(out[::-1], dim=1)
    return found, found + values


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask` is set."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Return `values` with mean 0 and variance 1 over the positions of `mask`, 0 elsewhere."""
    mask = mask.to(values.dtype)
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * torch.rsqrt(variance + 1e-8) * mask


def ppo_policy(
    log_probs: Tensor, old: Tensor, advantage: Tensor, mask: Tensor, *, clip: float = 0.2
) -> Tensor:
    """Return PPO's clipped objective, to be minimised (Schulman et al. 2017, arXiv 1707.06347)."""
    ratio = torch.exp(log_probs - old)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return masked_mean(torch.maximum(-advantage * ratio, -advantage * clipped), mask)


def ppo_value(
    values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.2
) -> Tensor:
    """Return PPO's value loss: half the squared error, the larger of clipped and plain."""
    clipped = old + (values - old).clamp(-clip, clip)
    worst = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * masked_mean(worst, mask)


def own_pair_loss(loss: Mapping[str, Any], *, soft: bool) -> tuple[str | None, float]:
    """Return the name of our own loss and its label noise, or `None` where TRL's own serves.

    Raises:
        UsageError: the loss has no form for soft labels.
    """
    kind, noise = loss["kind"], float(loss["noise"])
    if kind == "cdpo":
        return "sigmoid", noise
    if kind in PAIR_LOSSES and (soft or kind == "ipo_sum"):
        return kind, 0.0
    if soft:
        known = ", ".join([*PAIR_LOSSES, "cdpo"])
        raise UsageError(
            f"the loss '{kind}' has no form for soft labels (p_chosen); those that have: {known}"
        )
    return None, 0.0
