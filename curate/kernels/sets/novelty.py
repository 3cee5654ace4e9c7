"""Novelty by ROUGE-L: walk texts in order, accept what is not too like anything accepted before.

A subsequence in common is at most as long as what the two texts have in common as bags of words. So
F above a limit needs a pair of rare words (each with its occurrence number) in common, which an
index finds (the prefix filter; see `kernels.sets.jaccard`); every pair found is verified, so
decisions are exact. This module holds the plain-Python path and the choice between it and
`kernels.sets.novelty_compiled`; both give the same answers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curate.kernels.sets.rouge import (
    Acceptance,
    Similar,
    common_length,
    f_measure,
    least_common,
    most_similar,
)

# Up to so many pairs of texts need no compiled code.
SMALL = 100_000


def novel(
    words: pa.ChunkedArray, count: int, limit: float | None, neighbours: int = 0
) -> Acceptance:
    """Accept or reject the first `count` texts (lists of uint64), in order.

    The texts after those are in the pool from the start and are not compared with each other. A
    text is rejected if and only if its F with one of the pool, or with a text accepted before, is
    above `limit` (`None`: nothing is). Its partner is the most similar one, the first of the pool
    on a tie; places count from the first text. With `neighbours`, the so many most similar of the
    pool are listed for each, with the mean over all of the pool.
    """
    lengths = (np.asarray(part.value_lengths()).astype(np.int64) for part in words.chunks)
    sizes = np.concatenate([np.zeros(0, np.int64), *lengths])
    flat = np.concatenate([np.zeros(0, np.uint64), *(p.flatten().to_numpy() for p in words.chunks)])
    if count * len(sizes) < SMALL:
        return _novel_small(np.split(flat, np.cumsum(sizes)[:-1]), count, limit, neighbours)
    from curate.kernels.sets.novelty_compiled import novel_large

    return novel_large(flat, sizes, count, limit, neighbours)


def _novel_small(
    texts: Sequence[np.ndarray], count: int, limit: float | None, neighbours: int
) -> Acceptance:
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
            common: Counter[int] = Counter()
            for word, often in Counter(text).items():
                for other, its in holders.get(word, ()):
                    common[other] += min(often, its)
            # F with the texts of the pool that can be above the limit, by their place in it.
            found: dict[int, float] = {}
            for other, shared in common.items():
                theirs = own[pool[other]]
                sizes = len(text), len(theirs)
                if neighbours or limit is None or shared >= least_common(*sizes, limit):
                    found[other] = f_measure(common_length(text, theirs), *sizes)
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
    return Acceptance(rejected, partner, score, similar)
