"""The compiled walk of `kernels.sets.jaccard`: a million sets in seconds, some hundred bytes each.

A block of sets is searched by all threads among the sets kept before the block; then one thread
walks the block in order, searches only what the block itself has kept so far, and enters what it
keeps into the index (`kernels.sets.prefix_index`). Sets that meet there are compared: by the
parities of their members first, then in full. Nothing that is skipped can change the answer.

What stays quadratic is data in which most pairs of sets are almost, but not quite, as similar as
the threshold; no exact method is known to escape that. Copies are looked up and never entered.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.sets.prefix_index import Index, build_index, insert, meet, prefix_lengths
from curate.kernels.sets.set_column import count_bits, intersection, window

MOST_THREADS, _BLOCK = 8, 4096

# The most similar kept set so far (or -1), and the overlap with it as a fraction; at first, the
# threshold.
FOUND = np.dtype([("partner", "i8"), ("shared", "i4"), ("union", "i4")])


class Room(NamedTuple):
    """A thread's room for its searches; see `prefix_index.meet`."""

    seen: np.ndarray
    met: np.ndarray


def room_for(count: int) -> Room:
    """Return room for searches among so many sets."""
    return Room(np.full(count, -1, np.int32), np.empty(count, np.int32))


def nearest_kept_large(
    sets: pa.ChunkedArray, order: np.ndarray, threshold: Fraction
) -> NearestKept:
    """Do the work of `jaccard.nearest_kept` with compiled code."""
    view, found = window(sets), nobody_found(len(sets), threshold)
    prefixes = prefix_lengths(view.size, *threshold.as_integer_ratio())
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    rooms = [room_for(len(order)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        index = build_index(view, order, prefixes, pool, threads)
        walk_all(view.values, index, rooms, found, pool)
    return nearest_of(found)


def nobody_found(count: int, threshold: Fraction) -> np.ndarray:
    """Return what is known of sets before anything was compared."""
    found = np.empty(count, FOUND)
    found["partner"], found["shared"], found["union"] = -1, *threshold.as_integer_ratio()
    return found


def nearest_of(found: np.ndarray) -> NearestKept:
    """Return partners and similarities of what was found."""
    partner = np.ascontiguousarray(found["partner"])
    return NearestKept(partner, np.where(partner >= 0, found["shared"] / found["union"], np.nan))


def walk_all(
    values: np.ndarray, index: Index, rooms: list[Room], found: np.ndarray, pool: ThreadPoolExecutor
) -> None:
    """Keep or drop all sets of an index, in its order; those `found` a partner are dropped."""
    count = len(index.walk)
    for at in range(0, count, _BLOCK):
        end = min(at + _BLOCK, count)
        cuts = itertools.pairwise(np.linspace(at, end, len(rooms) + 1).astype(np.int64))
        jobs = [
            pool.submit(_search, values, index, a, b, room, found)
            for room, (a, b) in zip(rooms, cuts, strict=True)
        ]
        for job in jobs:
            job.result()
        _settle(values, index, at, end, rooms[0], found)


@njit(nogil=True, cache=True, error_model="numpy")
def _search(
    values: np.ndarray, index: Index, a: int, b: int, room: Room, found: np.ndarray
) -> None:
    """Search for the sets from `a` to `b` in the walk among those that earlier blocks kept."""
    walk, ends, postings, buckets, entries = index
    seen, met = room
    for rank in range(a, b):
        shared, union = least_similarity(rank, walk, found)
        count = meet(rank, 0, shared, union, walk, ends, postings, buckets, entries, seen, met)
        choose(rank, count, met, values, walk, values, walk, found)


@njit(nogil=True, cache=True, error_model="numpy")
def _settle(
    values: np.ndarray, index: Index, a: int, b: int, room: Room, found: np.ndarray
) -> None:
    """Search among the kept sets of the block itself, in order; keep or drop each set."""
    walk, ends, postings, buckets, entries = index
    seen, met = room
    # What the thread of this room has met by now lies before the block; no need to forget it.
    for rank in range(a, b):
        shared, union = least_similarity(rank, walk, found)
        count = meet(rank, a, shared, union, walk, ends, postings, buckets, entries, seen, met)
        choose(rank, count, met, values, walk, values, walk, found)
        if found[walk[rank].row].partner < 0:
            insert(rank, walk, ends, postings, buckets, entries)


@njit(nogil=True, cache=True, error_model="numpy")
def least_similarity(rank: int, walk: np.ndarray, found: np.ndarray) -> tuple[Any, Any]:
    """Return the similarity to reach, as a fraction: the threshold's, or the partner's so far."""
    best = found[walk[rank].row]
    return np.int64(best.shared), np.int64(best.union)


@njit(nogil=True, cache=True, error_model="numpy")
def choose(
    rank: int,
    count: int,
    met: np.ndarray,
    values: np.ndarray,
    walk: np.ndarray,
    others: np.ndarray,
    their_walk: np.ndarray,
    found: np.ndarray,
) -> None:
    """Compare a set with the `others` it met; note the most similar one, the first on a tie."""
    one = walk[rank]
    size: Any = np.int64(one.size)
    best = found[one.row]
    for k in range(count):
        its = their_walk[met[k]]
        shared, union, both = np.int64(best.shared), np.int64(best.union), size + its.size
        # The least intersection that makes this set at least as similar as the best so far.
        need = (shared * both + shared + union - 1) // (shared + union)
        if count_bits(one.parities ^ its.parities) <= both - 2 * need:
            common = intersection(values, one.start, size, others, its.start, its.size, need)
            better = common * union > shared * (both - common)
            if common >= need and (better or best.partner < 0 or its.row < best.partner):
                best.partner, best.shared, best.union = its.row, common, both - common
