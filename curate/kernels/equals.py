"""Groups of equal 128-bit hashes, by sorting them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def first_of_equals(hashes: pa.ChunkedArray, order: np.ndarray) -> np.ndarray:
    """Return for every row the first of its equals in `order`, or -1 for that row itself.

    Rows whose hash is null have no equals.
    """
    column = hashes.combine_chunks()  # 16 bytes a row: copying them is cheaper than parts
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.nulls(0, pa.binary(16))])
    out = np.full(len(column), -1, np.int64)
    order = order[np.asarray(pc.is_valid(column))[order]]
    if not len(order):
        return out
    words = np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)][order]
    at, heads = _repeats(words)
    out[order[at]] = np.where(at == heads, -1, order[heads])
    return out


def _repeats(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of words (n x 2) whose first half occurs twice, and each one's first equal.

    Few words share a half with another, so only those are sorted by everything.
    """
    first = words[:, 0].copy()
    ranks = np.argsort(first)  # not stable, but by far the fastest
    ordered = first[ranks]
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(len(words), bool)
    shared[ranks[1:][same]] = shared[ranks[:-1][same]] = True
    at = np.flatnonzero(shared)
    at = at[np.lexsort((words[at, 1], words[at, 0]))]  # stable: equals stay in walking order
    starts = np.ones(len(at), bool)
    starts[1:] = (words[at[1:]] != words[at[:-1]]).any(axis=1)
    return at, at[np.flatnonzero(starts)][np.cumsum(starts) - 1]
