"""Sets of 64-bit hashes where a column holds them, and how many members two of them share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

_1, _2, _4, _56, _63 = (np.uint64(value) for value in (1, 2, 4, 56, 63))
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


class Sets(NamedTuple):
    """Sets within one array: set `k` is `values[start[k] : start[k] + size[k]]`, sorted."""

    values: np.ndarray
    start: np.ndarray
    size: np.ndarray


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
        # Not writable, as below: each kernel would be compiled a second time for nothing at all.
        none = np.frombuffer(b"", np.uint64)
        return Sets(none, np.zeros(count, np.int64), np.zeros(count, np.int32))
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    values = np.asarray(_Memory(low, (high - low) // 8))
    return Sets(values, np.concatenate(starts) - low // 8, np.concatenate(sizes))


@njit(nogil=True, cache=True, error_model="numpy")
def parities(values: np.ndarray, start: int, size: int) -> Any:
    """Return 64 bits: each says whether an odd number of members fall on it.

    A member that stands in one of two sets only changes one bit, so two sets differ in at least as
    many members as their parities in bits (cf. the bitmap filter of Sandes et al., 2017).
    """
    bits = np.uint64(0)
    for at in range(start, start + size):
        bits ^= _1 << (values[at] & _63)
    return bits


@njit(inline="always")
def count_bits(bits: Any) -> Any:
    """Return how many of 64 bits are set."""
    bits = bits - ((bits >> _1) & _PAIRS)
    bits = (bits & _FOURS) + ((bits >> _2) & _FOURS)
    bits = (bits + (bits >> _4)) & _BYTES
    return np.int64((bits * _ONES) >> _56)


@njit(nogil=True, cache=True, error_model="numpy")
def intersection(
    values: np.ndarray,
    at: int,
    size: int,
    others: np.ndarray,
    there: int,
    its_size: int,
    need: int,
) -> int:
    """Return how many members two sets share: one at a place of `values`, one of `others`.

    The answer is -1 as soon as `need` is out of reach.
    """
    shared, end, there_end = 0, at + size, there + its_size
    # How many members of either set may still go without a match.
    mine, theirs = size - need, its_size - need
    while at < end and there < there_end and mine >= 0 and theirs >= 0:
        if values[at] == others[there]:
            shared, at, there = shared + 1, at + 1, there + 1
        elif values[at] < others[there]:
            at, mine = at + 1, mine - 1
        else:
            there, theirs = there + 1, theirs - 1
    return shared if mine >= 0 and theirs >= 0 else -1
