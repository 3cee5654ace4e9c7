"""ROUGE-L as the package `rouge_score` computes it, down to the last bit.

F of two texts is the harmonic mean of the longest common subsequence of their words over the one's
and the other's length (Lin 2004). A text at exactly 0.7 is not above 0.7.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curate.kernels.sets.shingles import word_hash
from curate.kernels.text.words import Tokens, compared_words

_ROUGE = re.compile("[a-z0-9]+")


class Similar(NamedTuple):
    """The most similar texts of one text: their places, F, and the mean F over all."""

    places: list[int]
    scores: list[float]
    mean: float


class Acceptance(NamedTuple):
    """For each text the most similar accepted one (or -1) and its F, NaN where not looked for.

    `rejected` tells of each whether F is above the limit; `similar` is `None` unless asked for.
    """

    rejected: np.ndarray
    partner: np.ndarray
    score: np.ndarray
    similar: list[Similar] | None


def tokens_of(text: str, tokens: Tokens) -> list[str]:
    """Return the words of a text: those by which texts are compared, or those of `rouge_score`."""
    return compared_words(text) if tokens == "words" else _ROUGE.findall(text.lower())


def token_hashes(text: str, tokens: Tokens) -> np.ndarray:
    """Return the hashes of the words of a text, in order, as uint64."""
    found = tokens_of(text, tokens)
    return np.fromiter(map(word_hash, found), np.uint64, len(found))


def f_measure(common: int, one: int, other: int) -> float:
    """Return F for texts of so many words, whose longest common subsequence has `common`."""
    if not common:
        return 0.0
    precision, recall = common / one, common / other
    return 2 * precision * recall / (precision + recall)


def least_common(one: int, other: int, limit: float) -> int:
    """Return how many words two texts must share at least for F above `limit`.

    F is 2 x common / (one + other), but for rounding: hence the small margin.
    """
    return max(1, math.ceil(limit / 2 * (one + other) - 1e-9 * (one + other)))


def prefix_length(size: int, limit: float) -> int:
    """Return how many of a text's rarest words every text must share one of for F above `limit`."""
    if not size:
        return 0
    shortest = max(1, math.floor(limit * size / (2 - limit) - 1e-9 * size))
    return max(0, size - least_common(size, shortest, limit) + 1)


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the length of the longest common subsequence (bit-parallel: Hyyrö 2004)."""
    masks: dict[object, int] = {}
    for place, word in enumerate(one):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    state = full
    for word in other:
        met = state & masks.get(word, 0)
        state = (state + met | state - met) & full
    return len(one) - state.bit_count()


def most_similar(scores: np.ndarray, pool: np.ndarray, neighbours: int) -> Similar:
    """Return the most similar texts of a pool, the first of the pool on a tie, and the mean."""
    if not len(scores):
        return Similar([], [], 0.0)
    candidates = np.arange(len(scores))
    if len(scores) > neighbours:
        candidates = np.flatnonzero(scores >= np.partition(scores, -neighbours)[-neighbours])
    order = candidates[np.argsort(-scores[candidates], kind="stable")[:neighbours]]
    # The mean as `numpy.mean` adds: that is how recorded runs were made.
    return Similar(pool[order].tolist(), scores[order].tolist(), float(np.mean(scores)))
