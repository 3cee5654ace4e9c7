"""How much the rows of an Arrow table take where they only name what stands once beside them.

A dictionary, a run and a view give a text once for any number of rows: a file of one megabyte can
hold rows of sixteen gigabytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


# How the types are called of which values can be named.
_NAMING = re.compile("dictionary|run_end_encoded|_view")
# What a value takes besides its own bytes: a place in a list, in Arrow and in Python.
_PLACE = 16


def names_values(schema: pa.Schema) -> bool:
    """Tell whether rows of a schema can name values that they do not hold."""
    return any(_NAMING.search(str(kind)) for kind in schema.types)


def row_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Return what each row of a batch takes in bytes (float64), the values that it names included.

    A null counts as the value that its place names, if any, so a row may take less. It is a float
    because what rows name may pass 2^63 bytes.
    """
    sizes = [_value_bytes(column) for column in batch.columns]
    return np.sum(sizes, axis=0) if sizes else np.zeros(batch.num_rows)


def _value_bytes(values: pa.Array) -> np.ndarray:
    """Return the bytes of each value of an array (float64)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, count = values.type, len(values)
    if isinstance(kind, pa.BaseExtensionType):
        return _value_bytes(values.storage)
    if pa.types.is_dictionary(kind):
        named = np.append(_value_bytes(values.dictionary), 0.0)
        places = pc.fill_null(values.indices.cast(pa.int64()), len(named) - 1)
        return np.asarray(named[places.to_numpy(zero_copy_only=False)] + _PLACE)
    if pa.types.is_run_end_encoded(kind):
        ends = values.run_ends.to_numpy(zero_copy_only=False)
        places = np.searchsorted(ends, np.arange(values.offset, values.offset + count), "right")
        return np.asarray(_value_bytes(values.values)[places] + _PLACE)
    if pa.types.is_struct(kind):
        fields = [_value_bytes(values.field(n)) for n in range(kind.num_fields)]
        return np.asarray(np.sum(fields, axis=0) if fields else np.zeros(count)) + _PLACE
    if pa.types.is_fixed_size_list(kind):
        start = values.offset * kind.list_size
        each = _value_bytes(values.values.slice(start, count * kind.list_size))
        return np.asarray(each.reshape(count, kind.list_size).sum(axis=1)) + _PLACE
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        begins = values.offsets.to_numpy(zero_copy_only=False)
        ends = begins + values.sizes.to_numpy(zero_copy_only=False)
        return _ranges(_value_bytes(values.values), begins, ends)
    if pa.types.is_map(kind):
        each = _value_bytes(values.keys) + _value_bytes(values.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        each = _value_bytes(values.values)
    else:
        return _plain_bytes(values)
    offsets = values.offsets.to_numpy(zero_copy_only=False)
    return _ranges(each, offsets[:-1], offsets[1:])


def _ranges(each: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the sums of ranges of values, each of which takes a place."""
    sums = np.concatenate([[0.0], np.cumsum(each + _PLACE)])
    return np.asarray(sums[ends] - sums[begins])


def _plain_bytes(values: pa.Array) -> np.ndarray:
    """Return the bytes of each value that is a text, or of a fixed width."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, count = values.type, len(values)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # A view begins with its length; a null's means nothing, and is 0 as a rule.
        views = np.frombuffer(values.buffers()[1], np.int32)[::4]
        return views[values.offset : values.offset + count].astype(np.float64)
    try:
        lengths = pc.fill_null(pc.binary_length(values), 0)
        return np.asarray(lengths.to_numpy(zero_copy_only=False)).astype(np.float64)
    except pa.ArrowNotImplementedError:
        # Numbers and their like; what has no width of its own, a union, by its average.
        return np.full(count, values.nbytes / max(1, count))
