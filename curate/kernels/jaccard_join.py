"""The compiled walk of `kernels.jaccard`: a million sets in seconds, in a few hundred bytes each.

Besides the prefix filter it uses four ideas. All of them only skip pairs that cannot change the
answer, so the answer does not depend on any of them.

- *Rarest first* needs no sort of all members: a table of saturating counters, addressed by the
  hash's low bits, is order enough. Threads fill it without locks; a lost count costs nothing but a
  slightly different order, and any order is correct.
- A pair that first meets at place i of one set and j of the other shares no more than
  min(|x| - i, |y| - j) members (the position filter of Xiao et al., WWW 2008).
- A member that very many sets share (boilerplate) is indexed under its set's length class too, and
  the position filter says which classes can hold a partner at all.
- A block of sets is searched by all threads among the sets kept before the block; then one thread
  walks the block in order and searches only what the block itself has added to the index.

What stays quadratic is data in which most pairs of sets are almost, but not quite, as similar as
the threshold; no exact method is known to escape that. Copies cost one look-up each.
"""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.nearest import Nearest

# Counters stop at _FULL; members that _COMMON or more sets hold are indexed by length class.
_FULL, _COMMON = 255, 64
_BLOCK, _MOST_THREADS = 4096, 8
_PROBES, _ROUNDS = 64, 16
_MOST_COUNTERS, _MOST_HEADS = 1 << 28, 1 << 27
_CLASS_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_LOW_32, _SHIFT_29, _SHIFT_20 = np.uint64(0xFFFFFFFF), np.uint64(29), np.uint64(20)


class Sets(NamedTuple):
    """Sets within one array: set `k` is `values[start[k] : start[k] + size[k]]`."""

    values: np.ndarray
    start: np.ndarray
    size: np.ndarray


class Index(NamedTuple):
    """The prefixes of all kept sets, as chains of entries that begin at `heads[hash of member]`.

    An entry is (set, tag of the member, members of the set from this one on, next entry).
    `counters` say how often each member occurs; see `count_members`.
    """

    entries: np.ndarray
    heads: np.ndarray
    counters: np.ndarray


class Found(NamedTuple):
    """The most similar kept set so far of every set (or -1), and their overlap as a fraction."""

    partner: np.ndarray
    shared: np.ndarray
    union: np.ndarray


class Probes(NamedTuple):
    """A thread's room for one search: keys to look up, members left at each, sets already seen."""

    keys: np.ndarray
    left: np.ndarray
    ahead: np.ndarray
    seen: np.ndarray


class Block(NamedTuple):
    """Sets that are searched for at the same time, and their prefixes.

    `rare` says how many members of a prefix, from its start, are not common.
    """

    rows: np.ndarray
    ends: np.ndarray
    prefixes: np.ndarray
    rare: np.ndarray


def nearest_kept_large(sets: pa.ChunkedArray, order: np.ndarray, threshold: Fraction) -> Nearest:
    """Do the work of `jaccard.nearest_kept` with compiled code."""
    view, count = window(sets), len(sets)
    top, bottom = threshold.numerator, threshold.denominator
    prefixes = _prefix_lengths(view.size, top, bottom)
    index = _empty_index(int(prefixes.sum()), count_members(view))
    found = Found(np.full(count, -1), np.full(count, top), np.full(count, bottom))
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    probes = [_probes(count, index.heads.dtype) for _ in range(threads + 1)]
    used = 0
    with ThreadPoolExecutor(threads) as pool:
        for at in range(0, count, _BLOCK):
            block = _block_of(order[at : at + _BLOCK], prefixes)
            cuts = np.linspace(0, len(block.rows), threads + 1).astype(np.int64)
            jobs = [
                pool.submit(_search_block, view, index, block, a, b, probes[k], found)
                for k, (a, b) in enumerate(itertools.pairwise(cuts))
            ]
            for job in jobs:
                job.result()
            used = _settle_block(view, index, block, used, probes[threads], found)
    similarity = np.where(found.partner >= 0, found.shared / found.union, np.nan)
    return Nearest(found.partner, similarity)


def _prefix_lengths(size: np.ndarray, top: int, bottom: int) -> np.ndarray:
    sizes = size.astype(np.int64)
    return sizes - -(-top * sizes // bottom) + (sizes > 0)


def _empty_index(count: int, counters: np.ndarray) -> Index:
    # Untouched pages of an empty array cost no memory, so the bound may be generous.
    entries = np.empty((count, 4), np.int32 if count < 2**31 else np.int64)
    return Index(entries, np.full(_power_of_two(count, _MOST_HEADS), -1, entries.dtype), counters)


def _probes(sets: int, dtype: Any) -> Probes:
    keys, left = np.empty(_PROBES, np.uint64), np.empty(_PROBES, np.int64)
    return Probes(keys, left, np.empty(_PROBES, dtype), np.full(sets, -1, np.int32))


def _block_of(rows: np.ndarray, prefixes: np.ndarray) -> Block:
    ends = np.concatenate([[0], np.cumsum(prefixes[rows])])
    return Block(rows, ends, np.empty(ends[-1], np.uint64), np.zeros(len(rows), np.int64))


def _power_of_two(count: int, most: int) -> int:
    return min(most, 1 << max(4, (count - 1).bit_length()))


class _Memory:
    """Show a stretch of this process's memory to numpy, read only."""

    def __init__(self, address: int, count: int) -> None:
        self.__array_interface__ = {
            "data": (address, True),
            "shape": (count,),
            "typestr": "<u8",
            "version": 3,
        }


def window(sets: pa.ChunkedArray) -> Sets:
    """Return the sets of all parts where they lie, without copying a mapped file into memory.

    The array spans all parts and whatever lies between them; only the sets themselves are ever
    looked at. It is valid for as long as `sets` is.
    """
    parts = [part for part in sets.chunks if len(part)]
    spans, starts, sizes = [], [], []
    for part in parts:
        offsets = part.offsets.to_numpy().astype(np.int64)
        buffer = part.values.buffers()[1]
        address = buffer.address if buffer is not None else 0
        first = address + 8 * part.values.offset
        if offsets[-1] > offsets[0]:
            spans.append((first, first + 8 * int(offsets[-1])))
        starts.append(first // 8 + offsets[:-1])
        sizes.append(np.diff(offsets).astype(np.int32))
    if not spans:
        count = len(sets)
        return Sets(np.zeros(0, np.uint64), np.zeros(count, np.int64), np.zeros(count, np.int32))
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    values = np.asarray(_Memory(low, (high - low) // 8))
    return Sets(values, np.concatenate(starts) - low // 8, np.concatenate(sizes))


def count_members(sets: Sets, threads: int = 2) -> np.ndarray:
    """Return a table of how often each member occurs, by its hash's low bits, at most 255."""
    total = int(sets.size.sum(dtype=np.int64))
    counters = np.zeros(_power_of_two(total // 4, _MOST_COUNTERS), np.uint8)
    bounds = np.linspace(0, len(sets.size), threads + 1).astype(np.int64)
    workers = [
        threading.Thread(target=_count, args=(*sets, bounds[k], bounds[k + 1], counters))
        for k in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return counters


@njit(nogil=True, cache=True)
def _count(
    values: np.ndarray, start: np.ndarray, size: np.ndarray, a: int, b: int, counters: np.ndarray
) -> None:
    mask = np.uint64(len(counters) - 1)
    for row in range(a, b):
        for at in range(start[row], start[row] + size[row]):
            slot = values[at] & mask
            if counters[slot] < _FULL:
                counters[slot] += 1


@njit(nogil=True, cache=True)
def _search_block(
    sets: Sets, index: Index, block: Block, a: int, b: int, probes: Probes, found: Found
) -> None:
    """Search for sets `a` to `b` of a block among those that earlier blocks kept."""
    for k in range(a, b):
        row, prefix = block.rows[k], block.prefixes[block.ends[k] : block.ends[k + 1]]
        if len(prefix):
            own = sets.values[sets.start[row] : sets.start[row] + sets.size[row]]
            block.rare[k] = _rarest(own, len(prefix), index.counters, prefix)
            _search(sets, index, row, prefix, block.rare[k], 0, probes, found)


@njit(nogil=True, cache=True)
def _settle_block(
    sets: Sets, index: Index, block: Block, used: int, probes: Probes, found: Found
) -> int:
    """Search among the kept sets of the block itself, in order; keep or drop each set."""
    floor = used
    for k in range(len(block.rows)):
        row, prefix = block.rows[k], block.prefixes[block.ends[k] : block.ends[k + 1]]
        _search(sets, index, row, prefix, block.rare[k], floor, probes, found)
        if found.partner[row] < 0:
            used = _insert(index, used, row, prefix, block.rare[k], sets.size[row])
    return used


@njit(nogil=True, cache=True)
def _rarest(own: np.ndarray, count: int, counters: np.ndarray, out: np.ndarray) -> int:
    """Write the `count` rarest members to `out`, the rarest first, ties by hash.

    Returns how many of them are not common.
    """
    mask, places = np.uint64(len(counters) - 1), np.zeros(_FULL + 1, np.int64)
    for value in own:
        places[counters[value & mask]] += 1
    before = 0
    for level in range(_FULL + 1):
        here = places[level]
        places[level] = before
        before += here
    rare = min(count, int(places[_COMMON]))
    for value in own:
        level = counters[value & mask]
        if places[level] < count:
            out[places[level]] = value
        places[level] += 1
    return rare


@njit(inline="always")
def _length_class(length: Any) -> Any:
    """Return a class that grows with the length: eight to every doubling."""
    if length < 16:
        return length
    shift = 0
    while (length >> shift) >= 16:
        shift += 1
    return 8 + 8 * shift + ((length >> shift) & 7)


@njit(inline="always")
def _key(member: Any, length_class: Any) -> Any:
    """Return the index key of a member, of its own (class 0) or for one length class."""
    key = (member ^ (np.uint64(length_class) * _CLASS_FACTOR)) * _CLASS_FACTOR
    return key ^ (key >> _SHIFT_29)


@njit(nogil=True, cache=True)
def _insert(index: Index, used: int, row: int, prefix: np.ndarray, rare: int, length: int) -> int:
    """Index a kept set under its prefix; return how many entries are used now."""
    own_class: Any = _length_class(length)
    for place in range(len(prefix)):
        key = _key(prefix[place], 0 if place < rare else own_class)
        slot = np.int64(key >> _SHIFT_20) & (len(index.heads) - 1)
        entry = index.entries[used]
        entry[0], entry[1], entry[2] = row, np.int32(key & _LOW_32), length - place
        entry[3], index.heads[slot] = index.heads[slot], used
        used += 1
    return used


@njit(nogil=True, cache=True)
def _search(
    sets: Sets,
    index: Index,
    row: int,
    prefix: np.ndarray,
    rare: int,
    floor: int,
    probes: Probes,
    found: Found,
) -> None:
    """Find the most similar kept set among the index entries from `floor` on."""
    length, count = np.int64(sets.size[row]), 0
    for place in range(len(prefix)):
        # From here on a set can share no more than `left` members with this one.
        left, shared, union = length - place, found.shared[row], found.union[row]
        first, last = 0, 0
        if place >= rare:
            first = _length_class((length * shared + union - 1) // union)
            last = _length_class(left * (shared + union) // shared - length)
        for length_class in range(first, last + 1):
            probes.keys[count], probes.left[count] = _key(prefix[place], length_class), left
            count += 1
            if count == _PROBES:
                _follow_all(sets, index, row, count, floor, probes, found)
                count = 0
    _follow_all(sets, index, row, count, floor, probes, found)


@njit(nogil=True, cache=True)
def _follow_all(
    sets: Sets, index: Index, row: int, count: int, floor: int, probes: Probes, found: Found
) -> None:
    """Follow the chains of all keys in order, for as long as a better set is possible."""
    _fetch(index, count, floor, probes)
    for k in range(count):
        left = probes.left[k]
        if left * found.union[row] < found.shared[row] * sets.size[row]:
            break
        _follow(sets, index, row, probes.keys[k], int(left), floor, probes.seen, found)


@njit(nogil=True, cache=True)
def _fetch(index: Index, count: int, floor: int, probes: Probes) -> None:
    """Walk all chains side by side, so that their cache misses overlap.

    It computes nothing: memory answers one chain at a time ten times slower than ten at once.
    """
    ahead = probes.ahead
    for k in range(count):
        ahead[k] = index.heads[np.int64(probes.keys[k] >> _SHIFT_20) & (len(index.heads) - 1)]
    for _ in range(_ROUNDS):
        going = 0
        for k in range(count):
            if ahead[k] >= floor:
                ahead[going] = index.entries[ahead[k], 3]
                going += 1
        count = going


@njit(nogil=True, cache=True)
def _follow(
    sets: Sets,
    index: Index,
    row: int,
    key: Any,
    left: int,
    floor: int,
    seen: np.ndarray,
    found: Found,
) -> None:
    """Verify the sets in the chain of one key, the latest first."""
    tag = np.int32(key & _LOW_32)
    entry = index.heads[np.int64(key >> _SHIFT_20) & (len(index.heads) - 1)]
    while entry >= floor:
        other, entry_tag, rest, entry = index.entries[entry]
        if entry_tag != tag or seen[other] == row:
            continue
        seen[other] = row
        shared, union = found.shared[row], found.union[row]
        both = np.int64(sets.size[row]) + sets.size[other]
        # The least intersection that makes this set at least as similar as the best so far.
        need = (shared * both + shared + union - 1) // (shared + union)
        if min(left, rest) < need:
            continue
        common = _intersection(sets, row, other, need)
        if common < need:
            continue
        best = found.partner[row]
        if best < 0 or common * union > shared * (both - common) or other < best:
            found.partner[row] = other
            found.shared[row], found.union[row] = common, both - common


@njit(nogil=True, cache=True)
def _intersection(sets: Sets, row: int, other: int, need: int) -> int:
    """Return how many members two sets share, or -1 as soon as `need` is out of reach."""
    values, at, there, shared = sets.values, sets.start[row], sets.start[other], 0
    end, there_end = at + sets.size[row], there + sets.size[other]
    # How many members of either set may still go without a match.
    mine, theirs = sets.size[row] - need, sets.size[other] - need
    while at < end and there < there_end and mine >= 0 and theirs >= 0:
        if values[at] == values[there]:
            shared, at, there = shared + 1, at + 1, there + 1
        elif values[at] < values[there]:
            at, mine = at + 1, mine - 1
        else:
            there, theirs = there + 1, theirs - 1
    return shared if mine >= 0 and theirs >= 0 else -1
