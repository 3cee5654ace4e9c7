"""Groups of texts that are linked by similarity, directly or through others.

Dropping duplicates needs each row's nearest kept row; splitting needs more, since two rows may be
alike and yet have different nearest rows. So every pair that can reach the threshold is looked at,
found by the prefix filter (see `kernels.sets.jaccard`), unless a chain of others links it already.

This module holds the plain-Python path, enough for some thousand texts, and the choice between it
and `kernels.sets.components_compiled`, the compiled path. Both give the same groups.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa

from curate.kernels.sets.jaccard import SMALL, prefix_length, threshold_of


class Links:
    """Disjoint groups of places; a group is known by its earliest place."""

    def __init__(self, count: int) -> None:
        """Begin with `count` groups of one."""
        self.parents = list(range(count))

    def root(self, place: int) -> int:
        """Return the earliest place of the group."""
        while self.parents[place] != place:
            self.parents[place] = self.parents[self.parents[place]]
            place = self.parents[place]
        return place

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self.parents[high] = low


def link_equal(links: Links, keys: np.ndarray) -> None:
    """Join the places with equal keys; key 0 is not a key."""
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    earliest = first[where]
    for place in np.flatnonzero((earliest != np.arange(len(keys))) & (keys != 0)).tolist():
        links.join(int(earliest[place]), place)


def link_similar(links: Links, sets: pa.ChunkedArray, similarity: float) -> None:
    """Join the places whose sets (sorted uint64) reach a Jaccard similarity; empty ones never."""
    threshold = threshold_of(similarity)
    if sum(len(part.flatten()) for part in sets.chunks) < SMALL:
        link_similar_small(links, sets, threshold)
        return
    from curate.kernels.sets.components_compiled import link_similar_large

    parents = np.array(links.parents, np.int64)
    link_similar_large(parents, sets, threshold)
    links.parents = parents.tolist()


def link_similar_small(links: Links, sets: pa.ChunkedArray, threshold: Fraction) -> None:
    """Do the work of `link_similar` without compiled code."""
    members = [
        part.values.to_numpy()[start:end]
        for part in sets.chunks
        for start, end in itertools.pairwise(part.offsets.to_numpy())
    ]
    flat = np.concatenate([*members, np.zeros(0, np.uint64)])
    distinct, where, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rank = np.empty(len(distinct), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(distinct))
    ends = np.cumsum([0, *map(len, members)])
    shared, meeting = counts[where] > 1, defaultdict[int, list[int]](list)
    for place, own in enumerate(members):
        span = slice(ends[place], ends[place + 1])
        order = np.argsort(rank[where[span]], kind="stable")
        prefix = order[: prefix_length(len(own), threshold)] if len(own) else order
        for key in where[span][prefix[shared[span][prefix]]].tolist():
            for other in meeting[key]:
                if links.root(other) == links.root(place):
                    continue
                common = len(np.intersect1d(own, members[other], assume_unique=True))
                union = len(own) + len(members[other]) - common
                if common * threshold.denominator >= union * threshold.numerator:
                    links.join(place, other)
            meeting[key].append(place)
