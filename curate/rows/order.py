"""The order of rows: `seq` compared as a tuple, a shorter one before what it begins."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import one_array


def sort_by_seq(table: pa.Table) -> pa.Table:
    """Return the rows in order; a table already in order is returned as it is."""
    column = one_array(table.column("seq"))
    if not len(column):
        return table
    lengths = np.asarray(pc.list_value_length(column)).astype(np.int64)
    width = int(lengths.max())
    matrix = np.full((len(column), width), -1, np.int64)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix[np.repeat(np.arange(len(column)), lengths), within] = np.asarray(column.flatten())
    # Equal ones keep their order.
    order = np.lexsort(matrix.T[::-1])
    if (order[1:] > order[:-1]).all():
        return table
    return table.take(pa.array(order))
