"""Strengths of answers from votes between two of them, and votes that go round in a circle."""

from __future__ import annotations

from typing import Any

import numpy as np

_ROUNDS, _CLOSE = 10_000, 1e-10


def bradley_terry(wins: Any, prior: float = 0.0) -> np.ndarray:
    """Return log-strengths with the mean 0; `wins[i, j]` counts how often i beat j, a tie half.

    Answer i beats j with the probability sigmoid(s_i - s_j). `prior` adds that many wins to each
    side of every pair, without which an answer that never wins is infinitely weak. Hunter 2004,
    "MM algorithms for generalized Bradley-Terry models", section 2.

    Raises:
        ValueError: strengths are not finite: without a prior, the answers fall into two parts of
            which one never beats the other; or they lie so far apart that the rounds end before
            they are found.
    """
    counts = np.asarray(wins, np.float64)
    counts = counts + prior * (1 - np.eye(len(counts)))
    if not _connected(counts > 0):
        raise ValueError("some answers never beat the others, so strengths need a prior above 0")
    games, won = counts + counts.T, counts.sum(1)
    strength = np.ones(len(counts))
    for _ in range(_ROUNDS):
        pairs = games / np.add.outer(strength, strength)
        new: np.ndarray = won / (pairs.sum(1) - np.diag(pairs))
        new /= np.exp(np.log(new).mean())
        done = float(np.abs(np.log(new) - np.log(strength)).max()) < _CLOSE
        strength = new
        if done:
            break
    else:
        raise ValueError(
            f"strengths are not found in {_ROUNDS:,} rounds with a prior of {prior:g}: some "
            "answers hardly ever beat the others; take a larger prior"
        )
    return np.log(strength)


def has_cycle(wins: Any) -> bool:
    """Tell whether majorities go round in a circle: a beats b, b beats c, and c beats a."""
    counts = np.asarray(wins, np.float64)
    beats = counts > counts.T
    left = np.ones(len(beats), bool)
    # An answer that beats none of those left is in no circle among them.
    while left.any():
        ends = left & ~(beats & left).any(1)
        if not ends.any():
            return True
        left &= ~ends
    return False


def _connected(edges: np.ndarray) -> bool:
    """Tell whether every answer is reached from every other one."""
    reached = edges | np.eye(len(edges), dtype=bool)
    for middle in range(len(edges)):
        reached |= np.outer(reached[:, middle], reached[middle])
    return bool(reached.all())
