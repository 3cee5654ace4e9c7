"""An index of the rarest members of all sets, laid out before the first look-up.

The prefix of a set is so many of its rarest members that every similar set must hold one of them in
its own prefix (see `kernels.sets.jaccard`). What makes looking them up cheap:

- *Rarest first* needs no sort of all members: a table of saturating counters, addressed by the
  hash's low bits, is order enough. Threads fill it without locks; a lost count costs nothing but a
  slightly different order, and any order is correct.
- All prefixes are known in advance, so every member has a bucket from the start: a count, then room
  for as many entries as sets have it in their prefix. One trip to memory brings all of a short
  bucket; a chain takes one for every entry. A member in a single prefix has no bucket at all.
- An entry holds what the filters ask for (its length and its place in the prefix), so that only
  sets that pass them cost more. Two sets that first meet at place i of one and j of the other share
  no more than min(|x| - i, |y| - j) members (the position filter of Xiao et al., WWW 2008).
- A member that very many sets share (boilerplate) has a bucket for every class of lengths, and the
  position filter says which of them can hold a partner.

Buckets are found by hash. Members that share one by chance cost time, never an answer: whoever uses
the index compares the sets that meet.

Functions that run for every set take plain arrays, have one way out and do not raise. Only so can
Numba prove that nothing in them needs its references counted; atomic counters, fought over by all
threads, once took half of the time here. A test reads the compiled code for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.sets.set_column import Sets, parities

# Counters stop at _FULL; members that _COMMON or more sets hold have a bucket per class of lengths.
_FULL, _COMMON = 255, 64
# Lengths from here on do not fit into an entry, which then says 0: not known, no filter.
_LONG = 1 << 16
_MOST_COUNTERS, _MOST_SLOTS = 1 << 28, 1 << 30
_FACTOR, _32 = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)

# A set in the order of the walk: where its members are, its place in the column, the parities of
# its members, their number, and how many of its prefix are not common.
STEP = np.dtype(
    [("start", "i8"), ("row", "i8"), ("parities", "u8"), ("size", "i4"), ("rare", "i4")]
)


class Index(NamedTuple):
    """Buckets for the prefixes of all sets, which are numbered by the order of the walk.

    `walk` describes them (see `STEP`). The prefix of set k is `postings[ends[k] : ends[k + 1]]`,
    rarest first: places of buckets in `entries` for members that are not common, hashes for the
    others, whose buckets are found by `buckets[_class_slot(...)]`. The bucket at place 0 is empty
    and stays so.
    """

    walk: np.ndarray
    ends: np.ndarray
    postings: np.ndarray
    buckets: np.ndarray
    entries: np.ndarray


def prefix_lengths(size: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Return the lengths of the prefixes of sets for the threshold top / bottom."""
    sizes = size.astype(np.int64)
    return sizes - -(-top * sizes // bottom) + (sizes > 0)


class Guests(NamedTuple):
    """Sets that are looked up in an index of others, in the form in which it has its own."""

    walk: np.ndarray
    ends: np.ndarray
    postings: np.ndarray


def counter_table(members: int) -> np.ndarray:
    """Return counters, all zero, that tell the rare ones of so many members from the others."""
    return np.zeros(_power_of_two(members // 4, _MOST_COUNTERS), np.uint8)


def build_index(
    sets: Sets,
    order: np.ndarray,
    prefixes: np.ndarray,
    pool: ThreadPoolExecutor,
    threads: int,
    counters: np.ndarray | None = None,
) -> Index:
    """Lay out empty buckets for sets in the order of a walk, given the lengths of their prefixes.

    A set whose prefix is given as 0 is neither found nor finds any. Whoever gives `counters` (see
    `counter_table`) gets them back filled, and an index in which `invite` looks up other sets.
    """
    least = 2 if counters is None else 1
    if counters is None:
        counters = counter_table(int(sets.size.sum(dtype=np.int64)))
    walk, ends, postings = known = _postings(sets, order, prefixes)
    buckets = np.zeros(_power_of_two(len(postings), _MOST_SLOTS), postings.dtype)
    _share(pool, threads, len(walk), _count, walk, sets.values, counters)
    _share(pool, threads, len(walk), _mark, *known, sets.values, counters)
    _share(pool, threads, len(buckets), _reserve, *known, buckets)
    entries = np.zeros(_lay_out(buckets, least), np.int64)
    _share(pool, threads, len(walk), _resolve, *known, buckets)
    return Index(walk, ends, postings, buckets, entries)


def invite(
    index: Index,
    counters: np.ndarray,
    sets: Sets,
    order: np.ndarray,
    prefixes: np.ndarray,
    pool: ThreadPoolExecutor,
    threads: int,
) -> Guests:
    """Find the buckets of other sets in an index that was built with `counters`."""
    walk, ends, postings = known = _postings(sets, order, prefixes, index.buckets.dtype)
    _share(pool, threads, len(walk), _mark, *known, sets.values, counters)
    _share(pool, threads, len(walk), _resolve, *known, index.buckets)
    return Guests(walk, ends, postings)


def _postings(
    sets: Sets, order: np.ndarray, prefixes: np.ndarray, place: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a walk over sets, and room for their prefixes with numbers of the type `place`."""
    walk, ends = np.zeros(len(order), STEP), np.concatenate([[0], np.cumsum(prefixes[order])])
    walk["row"], walk["start"], walk["size"] = order, sets.start[order], sets.size[order]
    total = int(ends[-1])
    if place is None:
        # There are at most two entries a posting (see `_reserve`), and no more counts than that.
        place = np.uint32 if 3 * total < 2**32 - 1 else np.int64
    return walk, ends, np.empty(total, place)


def _share(
    pool: ThreadPoolExecutor,
    threads: int,
    count: int,
    work: Callable[..., None],
    *args: np.ndarray,
) -> None:
    """Let every thread of a pool do `work` on an equal part of `count` places."""
    cuts = np.linspace(0, count, threads + 1).astype(np.int64)
    for job in [pool.submit(work, a, b, *args) for a, b in itertools.pairwise(cuts)]:
        job.result()


def _power_of_two(count: int, most: int) -> int:
    return min(most, 1 << max(4, (count - 1).bit_length()))


@njit(nogil=True, cache=True, error_model="numpy")
def _count(a: int, b: int, walk: np.ndarray, values: np.ndarray, counters: np.ndarray) -> None:
    """Count, in a table addressed by their low bits, how often members occur."""
    mask = np.uint64(len(counters) - 1)
    for rank in range(a, b):
        start = walk[rank].start
        for at in range(start, start + walk[rank].size):
            slot = values[at] & mask
            if counters[slot] < _FULL:
                counters[slot] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _mark(
    a: int,
    b: int,
    walk: np.ndarray,
    ends: np.ndarray,
    postings: np.ndarray,
    values: np.ndarray,
    counters: np.ndarray,
) -> None:
    """Write the hashes of all prefixes to the postings, and what the walk says of each set."""
    longest = 0
    for rank in range(a, b):
        longest = max(longest, walk[rank].size)
    levels, places = np.empty(longest, np.uint8), np.empty(_FULL + 1, np.int64)
    for rank in range(a, b):
        start, size = walk[rank].start, walk[rank].size
        walk[rank].parities = parities(values, start, size)
        walk[rank].rare = _rarest(
            values, start, size, counters, levels, places, postings, ends[rank], ends[rank + 1]
        )


@njit(nogil=True, cache=True, error_model="numpy")
def _rarest(
    values: np.ndarray,
    start: int,
    size: int,
    counters: np.ndarray,
    levels: np.ndarray,
    places: np.ndarray,
    postings: np.ndarray,
    first: int,
    end: int,
) -> int:
    """Fill postings from `first` to `end` with hashes of a set's rarest members, ties by member.

    Returns how many of them are not common.
    """
    mask = np.uint64(len(counters) - 1)
    for level in range(len(places)):
        places[level] = 0
    for k in range(size):
        levels[k] = counters[values[start + k] & mask]
        places[levels[k]] += 1
    at, last, rare = first, -1, end - first
    while at < end:
        last += 1
        rare = at - first if last == _COMMON else rare
        here = places[last]
        places[last] = at
        at += here
    for k in range(size if end > first else 0):
        if levels[k] <= last and places[levels[k]] < end:
            postings[places[levels[k]]] = _hash(values[start + k])
            places[levels[k]] += 1
    return rare


@njit(inline="always")
def _hash(member: Any) -> Any:
    return (member * _FACTOR) >> _32


@njit(inline="always")
def _class_slot(posting: Any, length_class: Any, slots: int) -> Any:
    """Return the slot of a common member's bucket for the sets of one class of lengths."""
    key = (np.uint64(posting) ^ (np.uint64(length_class) << _32)) * _FACTOR
    return np.int64(key >> _32) & (slots - 1)


@njit(inline="always")
def _length_class(length: Any) -> Any:
    """Return a class that grows with the length: eight to every doubling."""
    if length < 16:
        return length
    shift = 0
    while (length >> shift) >= 16:
        shift += 1
    return 8 + 8 * shift + ((length >> shift) & 7)


@njit(nogil=True, cache=True, error_model="numpy")
def _reserve(
    low: int,
    high: int,
    walk: np.ndarray,
    ends: np.ndarray,
    postings: np.ndarray,
    buckets: np.ndarray,
) -> None:
    """Count how many entries the buckets of the slots from `low` to `high` may get.

    Every thread reads all postings: counts of different slots need no lock, and none may be lost.
    """
    slots = len(buckets)
    for rank in range(len(walk)):
        common = ends[rank] + walk[rank].rare
        for k in range(ends[rank], common):
            slot = np.int64(postings[k]) & (slots - 1)
            if low <= slot < high:
                buckets[slot] += 1
        own_class = _length_class(np.int64(walk[rank].size))
        for k in range(common, ends[rank + 1]):
            slot = _class_slot(postings[k], own_class, slots)
            if low <= slot < high:
                # Sets of other classes look here too, so that a single entry needs its bucket.
                buckets[slot] += 2


@njit(nogil=True, cache=True, error_model="numpy")
def _lay_out(buckets: np.ndarray, least: int) -> Any:
    """Turn counts of entries into places of buckets; return where the last one ends.

    Slots with fewer entries than `least` get none: a set alone there finds nobody but itself.
    """
    end: Any = 1
    for slot in range(len(buckets)):
        count = np.int64(buckets[slot])
        buckets[slot] = end if count >= least else 0
        end += count + 1 if count >= least else 0
    return end


@njit(nogil=True, cache=True, error_model="numpy")
def _resolve(
    a: int, b: int, walk: np.ndarray, ends: np.ndarray, postings: np.ndarray, buckets: np.ndarray
) -> None:
    """Replace the hashes of members that are not common by the places of their buckets."""
    for rank in range(a, b):
        for k in range(ends[rank], ends[rank] + walk[rank].rare):
            postings[k] = buckets[np.int64(postings[k]) & (len(buckets) - 1)]


@njit(nogil=True, cache=True, error_model="numpy")
def insert(
    rank: int,
    walk: np.ndarray,
    ends: np.ndarray,
    postings: np.ndarray,
    buckets: np.ndarray,
    entries: np.ndarray,
) -> None:
    """Enter a set into the buckets of its prefix, later in the walk than all that are there."""
    first, length = ends[rank], np.int64(walk[rank].size)
    own_class, known = _length_class(length), length < _LONG
    for place in range(ends[rank + 1] - first):
        at: Any = np.int64(postings[first + place])
        if place >= walk[rank].rare:
            at = np.int64(buckets[_class_slot(at, own_class, len(buckets))])
        if at:
            entries[at] += 1
            entry = np.int64(rank) << 32
            entries[at + entries[at]] = entry | (length << 16) | place if known else entry


@njit(nogil=True, cache=True, error_model="numpy")
def meet(
    rank: int,
    floor: int,
    shared: int,
    union: int,
    walk: np.ndarray,
    ends: np.ndarray,
    postings: np.ndarray,
    buckets: np.ndarray,
    entries: np.ndarray,
    seen: np.ndarray,
    met: np.ndarray,
) -> int:
    """Write to `met` which sets from `floor` on may be as similar to one as shared / union.

    Returns their number. `seen` is the thread's own note of who met whom; it begins at -1.
    """
    length: Any = np.int64(walk[rank].size)
    first, count = ends[rank], 0
    common = first + walk[rank].rare
    # Asking for all counts before anything depends on one lets their cache misses overlap.
    waiting: Any = 0
    for k in range(first, common):
        waiting += entries[postings[k]]
    for k in range(first, common if waiting else first):
        bucket: Any = np.int64(postings[k])
        left = length - (k - first)
        count = _scan(rank, floor, shared, union, length, left, bucket, entries, seen, met, count)
    for k in range(common, ends[rank + 1]):
        # From here on a set can share no more than `left` members with this one.
        left = length - (k - first)
        shortest = (length * shared + union - 1) // union
        longest = left * (shared + union) // shared - length
        for length_class in range(_length_class(shortest), _length_class(longest) + 1):
            bucket = np.int64(buckets[_class_slot(postings[k], length_class, len(buckets))])
            count = _scan(
                rank, floor, shared, union, length, left, bucket, entries, seen, met, count
            )
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _scan(
    rank: int,
    floor: int,
    shared: int,
    union: int,
    length: int,
    left: int,
    bucket: int,
    entries: np.ndarray,
    seen: np.ndarray,
    met: np.ndarray,
    count: int,
) -> int:
    """Add the sets of one bucket that pass all filters, the latest first."""
    at, both = bucket + entries[bucket], shared + union
    while at > bucket and entries[at] >> 32 >= floor:
        other, its_length, place = (
            entries[at] >> 32,
            entries[at] >> 16 & 0xFFFF,
            entries[at] & 0xFFFF,
        )
        # Sets of these lengths need shared * lengths / both members in common.
        enough = min(left, its_length - place) * both >= shared * (length + its_length)
        if (enough or not its_length) and seen[other] != rank:
            seen[other] = rank
            met[count] = other
            count += 1
        at -= 1
    return count
