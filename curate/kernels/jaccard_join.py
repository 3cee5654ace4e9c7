"""The compiled walk of `kernels.jaccard`: a million sets in seconds, in a few hundred bytes each.

Besides the prefix filter it uses four ideas. All of them only skip pairs that cannot change the
answer, so the answer does not depend on any of them.

- *Rarest first* needs no sort of all members: a table of saturating counters, addressed by the
  hash's low bits, is order enough. Threads fill it without locks; a lost count costs nothing but a
  slightly different order, and any order is correct.
- *Equal sets* are met in a table of their own, so a million copies cost a million look-ups.
- A pair that first meets at place i of one set and j of the other shares no more than
  min(|x| - i, |y| - j) members (the position filter of Xiao et al., WWW 2008).
- A member that very many sets share (boilerplate) is indexed under its set's length class too, and
  the position filter says which classes can hold a partner at all.

What stays quadratic is data in which most pairs of sets are almost, but not quite, as similar as
the threshold; no exact method is known to escape that.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.jaccard import Nearest

_FULL = 255
_MOST_COUNTERS = 1 << 26
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


def nearest_kept_large(sets: pa.ChunkedArray, order: np.ndarray, threshold: Fraction) -> Nearest:
    """Do the work of `jaccard.nearest_kept` with compiled code."""
    view = window(sets)
    index = _empty_index(view, threshold)
    equals = np.full(_power_of_two(len(order)), -1, np.int32)
    found = _walk(view, index, equals, order, threshold.numerator, threshold.denominator)
    return Nearest(*found)


def _empty_index(sets: Sets, threshold: Fraction) -> Index:
    sizes = sets.size.astype(np.int64)
    prefixes = sizes - -(-threshold.numerator * sizes // threshold.denominator) + (sizes > 0)
    count = int(prefixes.sum())
    # Untouched pages of an empty array cost no memory, so the bound may be generous.
    entries = np.empty((count, 4), np.int32 if count < 2**31 else np.int64)
    heads = np.full(_power_of_two(count), -1, entries.dtype)
    return Index(entries, heads, count_members(sets))


def _power_of_two(count: int, most: int = 1 << 27) -> int:
    return int(min(most, 1 << max(4, (count - 1).bit_length())))


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
    counters = np.zeros(_power_of_two(total, _MOST_COUNTERS), np.uint8)
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
def _walk(
    sets: Sets, index: Index, equals: np.ndarray, order: np.ndarray, top: int, bottom: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return partners and similarities; `top / bottom` is the threshold."""
    rows = len(sets.size)
    partner, similarity = np.full(rows, -1, np.int64), np.full(rows, np.nan)
    next_equal, seen = np.empty(rows, np.int32), np.full(rows, -1, np.int32)
    prefix = np.empty(64, np.uint64)
    used = 0
    for row in order:
        own = sets.values[sets.start[row] : sets.start[row] + sets.size[row]]
        if len(own) == 0:
            continue
        slot = np.int64(_sum(own) >> _SHIFT_20) & (len(equals) - 1)
        twin = _find_equal(sets, own, equals[slot], next_equal)
        if twin >= 0:
            partner[row], similarity[row] = twin, 1.0
            continue
        count = len(own) - (top * len(own) + bottom - 1) // bottom + 1
        if count > len(prefix):
            prefix = np.empty(2 * count, np.uint64)
        _rarest(own, count, index.counters, prefix)
        best, shared, union = _search(sets, index, row, prefix[:count], seen, top, bottom)
        if best >= 0:
            partner[row], similarity[row] = best, shared / union
            continue
        next_equal[row], equals[slot] = equals[slot], row
        used = _insert(index, used, row, prefix[:count], len(own))
    return partner, similarity


@njit(nogil=True, cache=True)
def _sum(own: np.ndarray) -> Any:
    total = np.uint64(0)
    for value in own:
        total += value
    return total * _CLASS_FACTOR


@njit(nogil=True, cache=True)
def _find_equal(sets: Sets, own: np.ndarray, other: int, next_equal: np.ndarray) -> int:
    """Return the kept set that equals `own`, following the chain from `other`, or -1."""
    while other >= 0:
        if sets.size[other] == len(own):
            at, same = sets.start[other], 0
            while same < len(own) and sets.values[at + same] == own[same]:
                same += 1
            if same == len(own):
                return other
        other = next_equal[other]
    return -1


@njit(nogil=True, cache=True)
def _rarest(own: np.ndarray, count: int, counters: np.ndarray, out: np.ndarray) -> None:
    """Write the `count` rarest members to `out`, the rarest first, ties by hash."""
    mask, places = np.uint64(len(counters) - 1), np.zeros(_FULL + 1, np.int64)
    for value in own:
        places[counters[value & mask]] += 1
    before = 0
    for level in range(_FULL + 1):
        here = places[level]
        places[level] = before
        before += here
    for value in own:
        level = counters[value & mask]
        if places[level] < count:
            out[places[level]] = value
        places[level] += 1


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
def _insert(index: Index, used: int, row: int, prefix: np.ndarray, length: int) -> int:
    """Index a kept set under its prefix; return how many entries are used now."""
    mask, own_class = np.uint64(len(index.counters) - 1), _length_class(length)
    for place in range(len(prefix)):
        full = index.counters[prefix[place] & mask] == _FULL
        key = _key(prefix[place], own_class if full else 0)
        slot = np.int64(key >> _SHIFT_20) & (len(index.heads) - 1)
        entry = index.entries[used]
        entry[0], entry[1], entry[2] = row, np.int32(key & _LOW_32), length - place
        entry[3], index.heads[slot] = index.heads[slot], used
        used += 1
    return used


@njit(nogil=True, cache=True)
def _search(
    sets: Sets, index: Index, row: int, prefix: np.ndarray, seen: np.ndarray, top: int, bottom: int
) -> tuple[int, int, int]:
    """Return the most similar kept set with the sizes of intersection and union, or -1."""
    best, length, mask = (-1, top, bottom), sets.size[row], np.uint64(len(index.counters) - 1)
    for place in range(len(prefix)):
        # From here on a set can share no more than `left` members with this one.
        left, (_, shared, union) = length - place, best
        if left * union < shared * length:
            break
        first, last = 0, 0
        if index.counters[prefix[place] & mask] == _FULL:
            first = _length_class((length * shared + union - 1) // union)
            last = _length_class(left * (shared + union) // shared - length)
        for length_class in range(first, last + 1):
            key = _key(prefix[place], length_class)
            best = _follow(sets, index, row, key, left, seen, best)
    return best


@njit(nogil=True, cache=True)
def _follow(
    sets: Sets,
    index: Index,
    row: int,
    key: Any,
    left: int,
    seen: np.ndarray,
    best: tuple[int, int, int],
) -> tuple[int, int, int]:
    """Verify the sets in the chain of one key; return the best of them and of `best`."""
    at, shared, union = best  # the best set and its overlap; -1 and the threshold at first
    tag = np.int32(key & _LOW_32)
    entry = index.heads[np.int64(key >> _SHIFT_20) & (len(index.heads) - 1)]
    while entry >= 0:
        other, found, rest, entry = index.entries[entry]
        if found != tag or seen[other] == row:
            continue
        seen[other] = row
        both = np.int64(sets.size[row]) + sets.size[other]
        # The least intersection that makes this set at least as similar as the best so far.
        need = (shared * both + shared + union - 1) // (shared + union)
        if min(left, rest) < need:
            continue
        common = _intersection(sets, row, other, need)
        if common < need:
            continue
        if at < 0 or common * union > shared * (both - common) or other < at:
            at, shared, union = other, common, both - common
    return at, shared, union


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
