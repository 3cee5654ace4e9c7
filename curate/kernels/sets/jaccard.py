"""Near-duplicates by exact Jaccard similarity: walk the sets, drop what a kept one resembles.

Sets that reach a threshold t share one of the first |set| - ceil(t |set|) + 1 members of either, in
any fixed order of all members (the prefix filter: Chaudhuri, Ganti and Kaushik, ICDE 2006). In the
order "rarest first" those prefixes meet seldom, and every pair that does meet is verified, so the
answer is exact. Members are 64-bit hashes; see `kernels.sets.shingles` for what that means.

This module holds the plain-Python path, enough for some thousand texts, and the choice between it
and `kernels.sets.jaccard_compiled`, the compiled path. Both give the same verdicts, down to the
last bit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.sets.shingles import shingle_set

# Below this many members the plain path answers before compiled code is even loaded.
SMALL = 1_000_000
DECIMALS = 6


def threshold_of(similarity: float) -> Fraction:
    """Return a threshold as the decimal number that was written: 0.8 is 4/5."""
    exact = Fraction(repr(float(similarity))) if math.isfinite(similarity) else Fraction(0)
    if not 0 < exact <= 1 or 10**DECIMALS % exact.denominator:
        raise ValueError(
            f"similarity is {similarity}; it must be above 0, at most 1, and have no more than "
            f"{DECIMALS} decimals"
        )
    return exact


def prefix_length(size: int, threshold: Fraction) -> int:
    """Return how many of a set's rarest members every set similar to it must meet one of."""
    return size - -(-threshold.numerator * size // threshold.denominator) + 1


def near_duplicates(
    texts: Sequence[str], *, similarity: float = 0.8, shingle: int = 3
) -> NearestKept:
    """Find the near-duplicates among `texts`, where the first of a group is kept.

    Returns the place of the kept text that each duplicate resembles most (-1 for a kept text) and
    their Jaccard similarity over sets of word n-grams.
    """
    if sum(map(len, texts)) < 4 * SMALL:
        sets = [shingle_set(text, shingle) for text in texts]
        column = pa.array(sets, pa.list_(pa.uint64()))
    else:
        from curate.kernels.sets.shingles_compiled import shingle_column

        column = shingle_column(pa.array(texts, pa.string()), shingle)
    return nearest_kept(pa.chunked_array([column]), np.arange(len(texts)), similarity)


def nearest_kept(sets: pa.ChunkedArray, order: np.ndarray, similarity: float) -> NearestKept:
    """Walk sets (lists of sorted uint64 without repeats) in `order`; keep or drop each.

    A set is dropped if and only if one kept before it reaches `similarity`. Among several its
    partner is the most similar, the one that comes first in `sets` on a tie. Empty sets take no
    part.
    """
    threshold = threshold_of(similarity)
    if sum(len(part.flatten()) for part in sets.chunks) < SMALL:
        return nearest_kept_small(sets, order, threshold)
    from curate.kernels.sets.jaccard_compiled import nearest_kept_large

    return nearest_kept_large(sets, order, threshold)


def nearest_kept_small(
    sets: pa.ChunkedArray, order: np.ndarray, threshold: Fraction
) -> NearestKept:
    """Do the work of `nearest_kept` without compiled code."""
    # Every set as the sorted ranks of its members, where the rarest member ranks first.
    sizes = [len(value) for part in sets.chunks for value in part]
    flat = [part.flatten().to_numpy() for part in sets.chunks]
    values = np.concatenate([*flat, np.zeros(0, np.uint64)])
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks_of = np.empty(len(counts), np.int64)
    ranks_of[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    parts = np.split(ranks_of[where], np.cumsum(sizes, dtype=np.int64)[:-1])
    members = [np.sort(ranks) for ranks in parts[: len(sizes)]]
    partner = np.full(len(members), -1, np.int64)
    similarity = np.full(len(members), np.nan)
    kept: dict[int, frozenset[int]] = {}
    meeting: defaultdict[int, list[int]] = defaultdict(list)
    for row in order.tolist():
        ranks = members[row]
        if not len(ranks):
            continue
        prefix = ranks[: prefix_length(len(ranks), threshold)].tolist()
        met = {other for rank in prefix for other in meeting.get(rank, ())}
        own = frozenset(ranks.tolist())
        best = _most_similar(own, met, kept, threshold)
        if best is not None:
            partner[row], similarity[row] = best
            continue
        kept[row] = own
        for rank in prefix:
            meeting[rank].append(row)
    return NearestKept(partner, similarity)


def _most_similar(
    own: frozenset[int], met: set[int], kept: dict[int, frozenset[int]], threshold: Fraction
) -> tuple[int, float] | None:
    """Return the most similar of the kept sets that were met, if it reaches the threshold."""
    best: tuple[int, int, int] | None = None
    top, bottom = threshold.numerator, threshold.denominator
    for other in sorted(met):
        theirs = kept[other]
        if min(len(own), len(theirs)) * bottom < max(len(own), len(theirs)) * top:
            continue
        shared = len(own & theirs)
        union = len(own) + len(theirs) - shared
        if shared * bottom < union * top:
            continue
        if best is None or shared * best[2] > best[1] * union:
            best = (other, shared, union)
    return None if best is None else (best[0], best[1] / best[2])
