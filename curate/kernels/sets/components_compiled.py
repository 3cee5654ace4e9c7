"""The compiled walk of `kernels.sets.components`, on the index of `kernels.sets.prefix_index`.

Every set is searched for among all before it and then joins the index, whether it was linked or
not: of three texts the outer two may be linked through the middle one only. Copies of a set are
linked by the caller and take no part, so that ten thousand copies cost ten thousand look-ups.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.sets.jaccard_compiled import MOST_THREADS, Room, room_for
from curate.kernels.sets.prefix_index import Index, build_index, insert, meet, prefix_lengths
from curate.kernels.sets.set_column import Sets, count_bits, intersection, window

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT_32 = np.uint64(32)


def link_similar_large(parents: np.ndarray, sets: pa.ChunkedArray, threshold: Fraction) -> None:
    """Join the groups in `parents` (each place's way to its root) whose sets are alike."""
    view, (top, bottom) = window(sets), threshold.as_integer_ratio()
    marks = np.zeros(len(view.size), np.uint64)
    _mark_all(view, marks)
    _, first, where = np.unique(marks, return_index=True, return_inverse=True)
    earliest, order = first[where], np.arange(len(marks))
    prefixes = prefix_lengths(view.size, top, bottom)
    prefixes[earliest != order] = 0
    _join_copies(view, earliest, parents)
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        index = build_index(view, order, prefixes, pool, threads)
    _walk(view.values, index, room_for(len(order)), top, bottom, parents)


@njit(nogil=True, cache=True, error_model="numpy")
def _mark_all(sets: Sets, out: np.ndarray) -> None:
    """Write a hash of every set, which its copies share."""
    for row in range(len(out)):
        mark = np.uint64(sets.size[row])
        for at in range(sets.start[row], sets.start[row] + sets.size[row]):
            mark = (mark ^ sets.values[at]) * _FACTOR
            mark ^= mark >> _SHIFT_32
        out[row] = mark


@njit(nogil=True, cache=True, error_model="numpy")
def _root(parents: np.ndarray, place: Any) -> Any:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@njit(nogil=True, cache=True, error_model="numpy")
def _join(parents: np.ndarray, one: Any, other: Any) -> None:
    low, high = _root(parents, one), _root(parents, other)
    if low > high:
        low, high = high, low
    parents[high] = low


@njit(nogil=True, cache=True, error_model="numpy")
def _join_copies(sets: Sets, earliest: np.ndarray, parents: np.ndarray) -> None:
    for row in range(len(earliest)):
        if earliest[row] != row and sets.size[row]:
            _join(parents, earliest[row], row)


@njit(nogil=True, cache=True, error_model="numpy")
def _walk(
    values: np.ndarray, index: Index, room: Room, top: int, bottom: int, parents: np.ndarray
) -> None:
    """Link every set to those before it, in order."""
    walk, ends, postings, buckets, entries = index
    seen, met = room
    for rank in range(len(walk)):
        count = meet(rank, 0, top, bottom, walk, ends, postings, buckets, entries, seen, met)
        _link(rank, count, met, values, walk, top, bottom, parents)
        insert(rank, walk, ends, postings, buckets, entries)


@njit(nogil=True, cache=True, error_model="numpy")
def _link(
    rank: int,
    count: int,
    met: np.ndarray,
    values: np.ndarray,
    walk: np.ndarray,
    top: int,
    bottom: int,
    parents: np.ndarray,
) -> None:
    """Compare a set with those it met, unless their group is its own; join it to all like it."""
    one, own = walk[rank], _root(parents, rank)
    size: Any = np.int64(one.size)
    for k in range(count):
        its = walk[met[k]]
        both = size + its.size
        need = (top * both + top + bottom - 1) // (top + bottom)
        near = count_bits(one.parities ^ its.parities) <= both - 2 * need
        if not near or _root(parents, met[k]) == own:
            continue
        if intersection(values, one.start, size, values, its.start, its.size, need) >= need:
            _join(parents, rank, met[k])
            own = _root(parents, rank)
