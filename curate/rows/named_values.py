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


def names_values(schema: pa.Schema) -> bool:
    """Tell whether rows of a schema can name values that they do not hold."""
    return any(_NAMING.search(str(kind)) for kind in schema.types)


def named_bytes(values: pa.Array) -> int:
    """Return how many bytes a row takes at most, of what rows only name; 0 where they hold it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        named = values.dictionary if pa.types.is_dictionary(kind) else values.values
        return max(_longest(named), named_bytes(named))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _longest(values)
    if pa.types.is_struct(kind):
        return sum(named_bytes(values.field(n)) for n in range(kind.num_fields))
    if pa.types.is_map(kind):
        each = named_bytes(values.keys) + named_bytes(values.items)
    elif pa.types.is_fixed_size_list(kind):
        return named_bytes(values.values) * int(kind.list_size)
    elif pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        items = values.values
        each = named_bytes(items) + items.nbytes // max(1, len(items)) + 1
    elif pa.types.is_nested(kind) and not pa.types.is_union(kind):
        each = named_bytes(values.values)
    else:
        return 0
    return each and each * int(pc.max(pc.list_value_length(values)).as_py() or 0)


def _longest(values: pa.Array) -> int:
    """Return the length in bytes of the longest text in an array, or of one value of another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # A view begins with its length; a null's means nothing, and is 0 as a rule.
        views = np.frombuffer(values.buffers()[1], np.int32)[::4]
        return int(views[values.offset : values.offset + len(values)].max(initial=0))
    if pa.types.is_nested(kind):
        return int(values.nbytes)
    try:
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
    except pa.ArrowNotImplementedError:
        # Numbers and their like, of a few bytes each.
        return 0
