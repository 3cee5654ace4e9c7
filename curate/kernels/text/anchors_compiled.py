"""Find the texts of a column that hold an anchor: a vectorised pass over all bytes at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.text.anchors import OUTSIDE
from curate.kernels.text.counts_compiled import text_bytes

_BLOCK = 256
# Setting this bit puts ASCII letters in lower case, and merges few other bytes.
_LOWER = np.uint8(32)


def texts_with(texts: pa.StringArray, anchors: tuple[bytes, ...]) -> np.ndarray:
    """Return a mask that misses no text holding an anchor, whatever the case of its letters.

    The mask is set for the whole neighbourhood of a hit, so it also holds for some other texts.
    """
    data, offsets = text_bytes(texts)
    span = data[offsets[0] : offsets[-1]]
    hits = np.zeros(len(span) // _BLOCK + 1, np.uint8)
    for anchor in anchors:
        if anchor == OUTSIDE:
            mark_outside_kernel(span, hits)
            continue
        one, two, three = np.frombuffer(anchor, np.uint8) | _LOWER
        mark_kernel(span, one, two, three, hits)
    found: np.ndarray = spread_kernel(offsets, hits)
    return found


@njit(nogil=True, cache=True)
def mark_kernel(
    data: np.ndarray, one: np.uint8, two: np.uint8, three: np.uint8, hits: np.ndarray
) -> None:
    """Mark the blocks of bytes in which the three bytes begin."""
    for block in range(len(hits)):
        first = block * _BLOCK
        size = min(_BLOCK, len(data) - 2 - first)
        if size <= 0:
            return
        part, seen = data[first : first + size + 2], np.uint8(0)
        for at in range(size):
            seen |= np.uint8(
                ((part[at] | _LOWER) == one)
                & ((part[at + 1] | _LOWER) == two)
                & ((part[at + 2] | _LOWER) == three)
            )
        hits[block] |= seen


@njit(nogil=True, cache=True)
def mark_outside_kernel(data: np.ndarray, hits: np.ndarray) -> None:
    """Mark the blocks with a byte outside ASCII."""
    for block in range(len(hits)):
        part, seen = data[block * _BLOCK : (block + 1) * _BLOCK], np.uint8(0)
        for at in range(len(part)):
            seen |= part[at]
        hits[block] |= seen >> 7


@njit(nogil=True, cache=True)
def spread_kernel(offsets: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Tell of each text whether one of its blocks is marked."""
    out = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(offsets) - 1):
        start, end = offsets[row] - offsets[0], offsets[row + 1] - offsets[0]
        if end > start:
            for block in range(start // _BLOCK, (end - 1) // _BLOCK + 1):
                out[row] |= hits[block] != 0
    return out
