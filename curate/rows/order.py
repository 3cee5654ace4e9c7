"""The order of rows: `seq` compared as a tuple, a shorter one before what it begins."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import one_array


def seq_order(column: pa.ListArray) -> np.ndarray:
    """Return the indexes that sort `seq` values; equal ones keep their order."""
    if not len(column):
        return np.zeros(0, np.int64)
    lengths = np.asarray(pc.list_value_length(column)).astype(np.int64)
    width = int(lengths.max())
    matrix = np.full((len(column), width), -1, np.int64)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix[np.repeat(np.arange(len(column)), lengths), within] = np.asarray(column.flatten())
    return np.lexsort(matrix.T[::-1])


def sort_by_seq(table: pa.Table) -> pa.Table:
    """Return the rows in order; a table already in order is returned as it is."""
    order = seq_order(one_array(table.column("seq")))
    if (order[1:] > order[:-1]).all():
        return table
    return table.take(pa.array(order))
