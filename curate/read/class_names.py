"""Names for the numbers of `datasets`' class labels.

A column of the feature `ClassLabel` holds numbers whose meaning stands beside the table: 0 may be
"desirable". Outside `datasets` nobody would know, so such columns are read as what they name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_FEATURES = b"huggingface"
_CLASSES = "ClassLabel"


def with_class_names(table: pa.Table, name: str) -> pa.Table:
    """Return a table with the names of its class labels, which its metadata gives, for numbers.

    A label below 0 means that there is none, and becomes null.

    Args:
        table: what was read; its schema may hold the features of `datasets`.
        name: what errors call its file.

    Raises:
        InputError: a label has no name.
    """
    about = (table.schema.metadata or {}).get(_FEATURES)
    if about is None or _CLASSES.encode() not in about:
        return table
    from curate.chunk import one_array

    features = json.loads(about)["info"]["features"]
    for index, column in enumerate(table.column_names):
        if _names_classes(features.get(column)):
            try:
                named = _named(one_array(table.column(index)), features[column])
            except IndexError as error:
                raise InputError(f"{name}: column '{column}': {error}") from None
            table = table.set_column(index, column, named)
    return table


def _names_classes(feature: Any) -> bool:
    """Tell whether a feature is a class label, or holds one."""
    if isinstance(feature, list):
        return any(map(_names_classes, feature))
    if not isinstance(feature, Mapping):
        return False
    return feature.get("_type") == _CLASSES or any(map(_names_classes, feature.values()))


def _named(values: pa.Array, feature: Any) -> pa.Array:
    """Return values with names for the numbers of class labels, however deep they stand."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _names_classes(feature):
        return values
    if isinstance(feature, list):
        feature = {"feature": feature[0], "_type": "List"}
    if feature.get("_type") == _CLASSES:
        names, most = feature.get("names") or [], pc.max(values).as_py()
        if most is not None and most >= len(names):
            raise IndexError(
                f"the class label {most} has no name, there are {len(names)}; write names for all, "
                "or cast the column to numbers"
            )
        return pa.array(names, pa.string()).take(pc.if_else(pc.less(values, 0), None, values))
    inner = feature.get("feature") if "_type" in feature else None
    if pa.types.is_struct(values.type):
        of = feature
        if isinstance(inner, Mapping):
            # A `Sequence` of objects is stored as an object of lists.
            of = {key: {"feature": one, "_type": "List"} for key, one in inner.items()}
        fields = [_named(pc.struct_field(values, f.name), of.get(f.name)) for f in values.type]
        return pa.StructArray.from_arrays(
            fields, [f.name for f in values.type], mask=values.is_null()
        )
    # `flatten` leaves out what lies behind nulls, where `values` would have it.
    flat, sizes = _named(values.flatten(), inner), pc.list_value_length(values).to_pylist()
    ends = list(itertools.accumulate((size or 0 for size in sizes), initial=0))
    starts = [None if size is None else end for size, end in zip(sizes, ends, strict=False)]
    offsets = pa.array([*starts, ends[-1]], pa.int64())
    return pa.LargeListArray.from_arrays(offsets, flat)
