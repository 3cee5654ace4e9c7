"""Groups of equal 128-bit hashes, by one stable sort."""

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
    ranks = np.lexsort((words[:, 1], words[:, 0]))  # stable: equals stay in walking order
    ordered = words[ranks]
    starts = np.ones(len(order), bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    heads = order[ranks[np.flatnonzero(starts)][np.cumsum(starts) - 1]]
    rows = order[ranks]
    out[rows] = np.where(starts, -1, heads)
    return out
