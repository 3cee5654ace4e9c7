"""Novelty by ROUGE-L: walk texts in order, accept what is not too like anything accepted before.

ROUGE-L's F of two texts is the harmonic mean of the longest common subsequence of their words over
the one's and the other's length (Lin 2004). It is computed here as the package `rouge_score` does,
down to the last bit: a text at exactly 0.7 is not above 0.7.

A subsequence in common is at most as long as what the two texts have in common as bags of words. So
F above a limit needs a pair of rare words (each with its occurrence number) in common, which an
index finds (the prefix filter; see `kernels.jaccard`); every pair found is verified, so decisions
are exact. This module holds the definition, the plain-Python path and the choice between it and
`kernels.novelty_compiled`; both give the same answers.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from curate.kernels.sets.shingles import word_hash
from curate.kernels.text.words import compared_words

Tokens = Literal["words", "rouge_score"]
# Up to so many pairs of texts need no compiled code.
SMALL = 100_000
_ROUGE = re.compile("[a-z0-9]+")


class Similar(NamedTuple):
    """The most similar texts of one text: their places, F, and the mean F over all."""

    places: list[int]
    scores: list[float]
    mean: float


class Found(NamedTuple):
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


def novel(words: pa.ChunkedArray, count: int, limit: float | None, neighbours: int = 0) -> Found:
    """Accept or reject the first `count` texts (lists of uint64), in order.

    The texts after those are in the pool from the start and are not compared with each other. A
    text is rejected if and only if its F with one of the pool, or with a text accepted before, is
    above `limit` (`None`: nothing is). Its partner is the most similar one, the first of the pool
    on a tie; places count from the first text. With `neighbours`, the so many most similar of the
    pool are listed for each, with the mean over all of the pool.
    """
    sizes = np.concatenate([np.zeros(0, np.int64), *map(_sizes, words.chunks)])
    flat = np.concatenate([np.zeros(0, np.uint64), *(p.flatten().to_numpy() for p in words.chunks)])
    if count * len(sizes) < SMALL:
        return _novel_small(np.split(flat, np.cumsum(sizes)[:-1]), count, limit, neighbours)
    from curate.kernels.sets.novelty_compiled import novel_large

    return novel_large(flat, sizes, count, limit, neighbours)


def _sizes(part: pa.ListArray) -> np.ndarray:
    return np.asarray(part.value_lengths()).astype(np.int64)


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


def _novel_small(
    texts: Sequence[np.ndarray], count: int, limit: float | None, neighbours: int
) -> Found:
    """Do the work of `novel` without compiled code."""
    own = [text.tolist() for text in texts]
    rejected, partner = np.zeros(count, np.bool_), np.full(count, -1, np.int64)
    score = np.full(count, np.nan)
    similar: list[Similar] | None = [] if neighbours else None
    pool: list[int] = []
    holders: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for place in (*range(count, len(own)), *range(count)):
        text = own[place]
        if place < count:
            found = _scores(text, own, pool, holders, None if neighbours else limit)
            best = max(found, key=lambda other: (found[other], -other), default=-1)
            above = best >= 0 and limit is not None and found[best] > limit
            if similar is not None:
                every = np.array([found.get(other, 0.0) for other in range(len(pool))])
                similar.append(most_similar(every, np.array(pool), neighbours))
            if above or similar is not None:
                partner[place] = pool[best] if best >= 0 else -1
                score[place] = found[best] if best >= 0 else 0.0
            if above:
                rejected[place] = True
                continue
        for word, often in Counter(text).items():
            holders[word].append((len(pool), often))
        pool.append(place)
    return Found(rejected, partner, score, similar)


def _scores(
    text: list[int],
    own: Sequence[list[int]],
    pool: Sequence[int],
    holders: defaultdict[int, list[tuple[int, int]]],
    limit: float | None,
) -> dict[int, float]:
    """Return F with the texts of the pool that can be above `limit`, by their place in the pool."""
    common: Counter[int] = Counter()
    for word, often in Counter(text).items():
        for other, its in holders.get(word, ()):
            common[other] += min(often, its)
    out = {}
    for other, shared in common.items():
        theirs = own[pool[other]]
        if limit is None or shared >= least_common(len(text), len(theirs), limit):
            out[other] = f_measure(common_length(text, theirs), len(text), len(theirs))
    return out


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


def pairs_of(texts: Sequence[str], tokens: Tokens = "words") -> Iterator[tuple[int, int, float]]:
    """Yield every pair of texts with its F."""
    own = [tokens_of(text, tokens) for text in texts]
    for first, one in enumerate(own):
        for second in range(first + 1, len(own)):
            other = own[second]
            yield first, second, f_measure(common_length(one, other), len(one), len(other))
