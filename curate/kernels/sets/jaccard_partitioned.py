"""The walk of `kernels.sets.jaccard` over more sets than memory holds: partition after partition.

The walk is cut into partitions whose sets and index fit into a bound. One at a time is held in
memory: its sets are kept or dropped in order, and then all sets later in the walk are read past it
and look for their most similar one among those that it kept. Whatever was kept before a set lies in
its own partition or an earlier one, so the set has met all of it when its turn comes: verdicts,
partners and similarities are those of one walk, for any cuts.

P partitions read the sets (P + 1) / 2 times and search as much more than one walk. Beside a
partition, a set takes 40 bytes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.arrays.duplicates import NearestKept
from curate.kernels.sets.jaccard import threshold_of
from curate.kernels.sets.jaccard_compiled import (
    MOST_THREADS,
    Room,
    choose,
    least_similarity,
    nearest_of,
    nobody_found,
    room_for,
    walk_all,
)
from curate.kernels.sets.prefix_index import (
    Guests,
    Index,
    build_index,
    counter_table,
    insert,
    invite,
    meet,
    prefix_lengths,
)
from curate.kernels.sets.set_column import Sets, window

# What a partition takes at most: its sets, their index, and room for searches.
PARTITION_BYTES = 3 << 30
# A member: itself and its counter. A posting: itself (4), its slot (up to 8), an entry and a count
# (up to 16). A set: its step of the walk, its place, and for each thread who met it.
_OF_MEMBER, _OF_POSTING, _OF_SET = 9, 28, 128
# So much of the other sets is read and looked up at once.
_GUEST_BYTES = 128 << 20


def partition_cuts(sizes: np.ndarray, threshold: Fraction, most_bytes: int) -> list[int]:
    """Return where to cut a walk over sets of these sizes so that all partitions are in the bound.

    It begins with 0 and ends with the number of sets. A set larger than the bound is a partition of
    its own.
    """
    prefixes = prefix_lengths(sizes, *threshold.as_integer_ratio())
    until = np.cumsum(_OF_MEMBER * sizes.astype(np.int64) + _OF_POSTING * prefixes + _OF_SET)
    total = int(until[-1]) if len(until) else 0
    # The fewest partitions, all of about one size: a small last one is no cheaper for the others.
    share = -(-total // max(1, -(-total // most_bytes)))
    cuts = [0]
    while cuts[-1] < len(sizes):
        before = int(until[cuts[-1] - 1]) if cuts[-1] else 0
        end = int(np.searchsorted(until, before + share, "right"))
        cuts.append(max(end, cuts[-1] + 1))
    return cuts


def nearest_kept_by_partition(
    parts: Sequence[Callable[[], pa.ChunkedArray]],
    sizes: Sequence[np.ndarray],
    order: np.ndarray,
    similarity: float,
    most_bytes: int,
) -> NearestKept:
    """Do the work of `jaccard.nearest_kept` on sets of which few are in memory at once.

    Args:
        parts: the sets, in order; each is read when it is called for, and let go afterwards.
        sizes: how many members each set of a part has (int32).
        order: the walk, as places in all parts together; sets that are not in it take no part.
        similarity: the threshold.
        most_bytes: what a partition may take.
    """
    threshold = threshold_of(similarity)
    of_all = np.concatenate([*sizes, np.zeros(0, np.int32)])
    found, ranks = nobody_found(len(of_all), threshold), np.full(len(of_all), -1, np.int64)
    ranks[order] = np.arange(len(order))
    column = _Column(parts, sizes, ranks)
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    cuts = partition_cuts(of_all[order], threshold, most_bytes)
    with ThreadPoolExecutor(threads) as pool:
        for low, high in itertools.pairwise(cuts):
            rows = order[low:high]
            partition = _Partition.of(
                column.copies(low, high, of_all[rows]), rows, threshold, pool, threads
            )
            walk_all(partition.values, partition.kept, partition.rooms, found, pool)
            for start, sets in column.groups(high, len(order), _GUEST_BYTES):
                later = np.flatnonzero(ranks[start : start + len(sets.size)] >= high)
                partition.receive(sets, later, start, threshold, found, pool)
    return nearest_of(found)


def closest_other_by_part(
    parts: Sequence[Callable[[], pa.ChunkedArray]],
    sizes: Sequence[np.ndarray],
    others: Sequence[Callable[[], pa.ChunkedArray]],
    their_sizes: Sequence[np.ndarray],
    similarity: float,
    most_bytes: int,
) -> NearestKept:
    """Find for each set the most similar one of other sets, of which few are in memory at once.

    Partners are places among `others`, the first one on a tie, or -1 where none reaches
    `similarity`; empty sets have none. Arguments are those of `nearest_kept_by_partition`.
    """
    threshold = threshold_of(similarity)
    of_all = np.concatenate([*their_sizes, np.zeros(0, np.int32)])
    count = sum(map(len, sizes))
    found = nobody_found(count, threshold)
    own = _Column(parts, sizes, np.arange(count))
    column = _Column(others, their_sizes, np.arange(len(of_all)))
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for low, high in itertools.pairwise(partition_cuts(of_all, threshold, most_bytes)):
            sets, rows = column.copies(low, high, of_all[low:high]), np.arange(low, high)
            partition = _Partition.of(sets, rows, threshold, pool, threads)
            _enter_all(partition.kept)
            for start, guests in own.groups(0, count, _GUEST_BYTES):
                places = np.arange(len(guests.size))
                partition.receive(guests, places, start, threshold, found, pool)
    return nearest_of(found)


class _Partition(NamedTuple):
    """Sets in memory with their index, in which other sets are looked up."""

    values: np.ndarray
    kept: Index
    counters: np.ndarray
    rooms: list[Room]

    @classmethod
    def of(
        cls,
        sets: Sets,
        rows: np.ndarray,
        threshold: Fraction,
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> _Partition:
        """Index sets, which stand at `rows` of the column, in the order in which they are given."""
        prefixes = prefix_lengths(sets.size, *threshold.as_integer_ratio())
        order, counters = np.arange(len(rows)), counter_table(len(sets.values))
        index = build_index(sets, order, prefixes, pool, threads, counters)
        index.walk["row"] = rows
        return cls(sets.values, index, counters, [room_for(len(rows)) for _ in range(threads)])

    def receive(
        self,
        sets: Sets,
        places: np.ndarray,
        start: int,
        threshold: Fraction,
        found: np.ndarray,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Search for those of other sets that stand at `places`, from `start` of the column on."""
        prefixes = prefix_lengths(sets.size, *threshold.as_integer_ratio())
        guests = invite(self.kept, self.counters, sets, places, prefixes, pool, len(self.rooms))
        guests.walk["row"] += start
        cuts = itertools.pairwise(np.linspace(0, len(places), len(self.rooms) + 1).astype(np.int64))
        jobs = []
        for room, (a, b) in zip(self.rooms, cuts, strict=True):
            room.seen.fill(-1)
            jobs.append(
                pool.submit(_visit, sets.values, guests, self.values, self.kept, a, b, room, found)
            )
        for job in jobs:
            job.result()


class _Column:
    """Sets in parts, and the rank of each in the walk (-1: it takes no part)."""

    def __init__(
        self,
        parts: Sequence[Callable[[], pa.ChunkedArray]],
        sizes: Sequence[np.ndarray],
        ranks: np.ndarray,
    ) -> None:
        self._parts, self._sizes, self._ranks = parts, sizes, ranks

    def copies(self, low: int, high: int, sizes: np.ndarray) -> Sets:
        """Return the sets with the ranks from `low` to `high`, in this order, in memory."""
        ends = np.cumsum(sizes, dtype=np.int64)
        values = np.empty(int(ends[-1]), np.uint64)
        for start, sets in self.groups(low, high, 0):
            ranks = self._ranks[start : start + len(sets.size)]
            _copy(sets, ranks, low, high, values, ends)
        # As the sets of a mapped file are: no kernel is compiled a second time.
        values.flags.writeable = False
        return Sets(values, ends - sizes, sizes)

    def groups(self, low: int, high: int, most_bytes: int) -> Iterator[tuple[int, Sets]]:
        """Yield neighbouring sets, of which some have a rank from `low` to `high`, as they lie.

        A group begins at a place in the column, and ends with the part that brings it over the
        bound.
        """
        waiting: list[pa.Array] = []
        first = begin = room = 0
        for number, sizes in enumerate(self._sizes):
            end = begin + len(sizes)
            ranks = self._ranks[begin:end]
            wanted = bool(((ranks >= low) & (ranks < high)).any())
            if wanted:
                first = first if waiting else begin
                waiting += self._parts[number]().chunks
                room += 8 * int(sizes.sum(dtype=np.int64))
            if waiting and (not wanted or room > most_bytes):
                yield first, window(pa.chunked_array(waiting))
                waiting, room = [], 0
            begin = end
        if waiting:
            yield first, window(pa.chunked_array(waiting))


@njit(nogil=True, cache=True, error_model="numpy")
def _copy(
    sets: Sets, ranks: np.ndarray, low: int, high: int, values: np.ndarray, ends: np.ndarray
) -> None:
    """Copy the sets with the ranks from `low` to `high` to where they end in `values`."""
    for place in range(len(ranks)):
        if low <= ranks[place] < high:
            at = sets.start[place]
            to = ends[ranks[place] - low] - sets.size[place]
            for k in range(sets.size[place]):
                values[to + k] = sets.values[at + k]


@njit(nogil=True, cache=True, error_model="numpy")
def _enter_all(index: Index) -> None:
    """Enter all sets of an index into it."""
    walk, ends, postings, buckets, entries = index
    for rank in range(len(walk)):
        insert(rank, walk, ends, postings, buckets, entries)


@njit(nogil=True, cache=True, error_model="numpy")
def _visit(
    values: np.ndarray,
    guests: Guests,
    others: np.ndarray,
    index: Index,
    a: int,
    b: int,
    room: Room,
    found: np.ndarray,
) -> None:
    """Search for the guests from `a` to `b` among all sets that a partition kept."""
    walk, ends, postings = guests
    their_walk, _, _, buckets, entries = index
    seen, met = room
    for rank in range(a, b):
        shared, union = least_similarity(rank, walk, found)
        count = meet(rank, 0, shared, union, walk, ends, postings, buckets, entries, seen, met)
        choose(rank, count, met, values, walk, others, their_walk, found)
