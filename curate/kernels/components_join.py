"""The compiled walk of `kernels.components`, on the index of `kernels.jaccard_join`.

Every set is searched for among all before it and then joins the index, whether it was linked or
not: of three texts the outer two may be linked through the middle one only. Copies of a set are
linked by the caller and take no part, so that ten thousand copies cost ten thousand look-ups.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.jaccard_join import (
    _LOW_32,
    _SHIFT_20,
    Index,
    Sets,
    _empty_index,
    _insert,
    _intersection,
    _key,
    _length_class,
    _prefix_lengths,
    _rarest,
    count_members,
    window,
)

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT_32 = np.uint64(32)


def link_similar_large(parents: np.ndarray, sets: pa.ChunkedArray, threshold: Fraction) -> None:
    """Join the groups in `parents` (each place's way to its root) whose sets are alike."""
    view = window(sets)
    marks = np.zeros(len(view.size), np.uint64)
    _mark_all(view, marks)
    _, first, where = np.unique(marks, return_index=True, return_inverse=True)
    earliest = first[where]
    prefixes = _prefix_lengths(view.size, threshold.numerator, threshold.denominator)
    prefixes[earliest != np.arange(len(prefixes))] = 0
    index = _empty_index(int(prefixes.sum()), count_members(view))
    room = np.empty(int(prefixes.max(initial=0)), np.uint64)
    seen = np.full(len(prefixes), -1, np.int32)
    _join_copies(view, earliest, parents)
    _walk(view, index, prefixes, room, seen, threshold.numerator, threshold.denominator, parents)


@njit(nogil=True, cache=True)
def _mark_all(sets: Sets, out: np.ndarray) -> None:
    """Write a hash of every set, which its copies share."""
    for row in range(len(out)):
        mark = np.uint64(sets.size[row])
        for at in range(sets.start[row], sets.start[row] + sets.size[row]):
            mark = (mark ^ sets.values[at]) * _FACTOR
            mark ^= mark >> _SHIFT_32
        out[row] = mark


@njit(nogil=True, cache=True)
def _root(parents: np.ndarray, place: Any) -> Any:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@njit(nogil=True, cache=True)
def _join(parents: np.ndarray, one: Any, other: Any) -> None:
    low, high = _root(parents, one), _root(parents, other)
    if low > high:
        low, high = high, low
    parents[high] = low


@njit(nogil=True, cache=True)
def _join_copies(sets: Sets, earliest: np.ndarray, parents: np.ndarray) -> None:
    for row in range(len(earliest)):
        if earliest[row] != row and sets.size[row]:
            _join(parents, earliest[row], row)


@njit(nogil=True, cache=True)
def _walk(
    sets: Sets,
    index: Index,
    prefixes: np.ndarray,
    room: np.ndarray,
    seen: np.ndarray,
    top: int,
    bottom: int,
    parents: np.ndarray,
) -> None:
    """Link every set to those before it, in order."""
    used = 0
    for row in range(len(prefixes)):
        if prefixes[row]:
            own = sets.values[sets.start[row] : sets.start[row] + sets.size[row]]
            prefix = room[: prefixes[row]]
            rare = _rarest(own, len(prefix), index.counters, prefix)
            _link(sets, index, row, prefix, int(rare), seen, top, bottom, parents)
            used = _insert(index, used, row, prefix, rare, sets.size[row])


@njit(nogil=True, cache=True)
def _link(
    sets: Sets,
    index: Index,
    row: int,
    prefix: np.ndarray,
    rare: int,
    seen: np.ndarray,
    top: int,
    bottom: int,
    parents: np.ndarray,
) -> None:
    """Join a set to all that are like it and stand in the index."""
    length = np.int64(sets.size[row])
    for place in range(len(prefix)):
        # From here on a set can share no more than `left` members with this one.
        left, first, last = length - place, 0, 0
        if place >= rare:
            first = _length_class((length * top + bottom - 1) // bottom)
            last = _length_class(left * (top + bottom) // top - length)
        for length_class in range(first, last + 1):
            key = _key(prefix[place], length_class)
            _follow(sets, index, row, key, int(left), seen, top, bottom, parents)


@njit(nogil=True, cache=True)
def _follow(
    sets: Sets,
    index: Index,
    row: int,
    key: Any,
    left: int,
    seen: np.ndarray,
    top: int,
    bottom: int,
    parents: np.ndarray,
) -> None:
    """Verify the sets in the chain of one key, unless their group is the row's own."""
    tag, own = np.int32(key & _LOW_32), _root(parents, row)
    entry = index.heads[np.int64(key >> _SHIFT_20) & (len(index.heads) - 1)]
    while entry >= 0:
        other, entry_tag, rest, entry = index.entries[entry]
        if entry_tag != tag or seen[other] == row:
            continue
        seen[other] = row
        both = np.int64(sets.size[row]) + sets.size[other]
        need = (top * both + top + bottom - 1) // (top + bottom)
        if min(left, rest) < need or _root(parents, other) == own:
            continue
        if _intersection(sets, row, other, need) >= need:
            _join(parents, row, other)
            own = _root(parents, row)
