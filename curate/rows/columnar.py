"""Records as Arrow columns that invent nothing.

A table gives every object of a column the keys of all others, so that `{"x": 1}` beside `{"y": 2}`
would come back as `{"x": 1, "y": null}`. Objects whose keys differ, and values of several types,
travel as Arrow's JSON type here, which Parquet stores as JSON and `datasets` reads as such. Only
turns keep one set of keys: there, a key that is null says the same as no key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

_TURN = ("role", "from")
# Beyond it, not every whole number is a float64, nor a 64-bit integer.
_EXACT, _INT64, _UINT64 = 2**53, 2**63, 2**64


class Form:
    """What the values of a column are, learnt from all of them."""

    def __init__(self) -> None:
        """Begin without any value."""
        self.types: set[type] = set()
        self.each: Form | None = None
        self.fields: dict[str, Form] = {}
        self._objects, self._present = 0, 0
        self._least = self._most = 0

    def add(self, values: Iterable[Any]) -> None:
        """Take some values into account."""
        for value in values:
            if value is None:
                continue
            self.types.add(type(value))
            if isinstance(value, Mapping):
                self._objects += 1
                self._present += len(value)
                for key, inner in value.items():
                    self.fields.setdefault(key, Form()).add((inner,))
            elif isinstance(value, list | tuple):
                self.each = self.each or Form()
                self.each.add(value)
            elif isinstance(value, int):
                self._least, self._most = min(self._least, value), max(self._most, value)

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that holds the values as they are."""
        if not self.types:
            return pa.null()
        if self.types <= {int, float} and float in self.types:
            exact = self._least >= -_EXACT and self._most <= _EXACT
            return pa.float64() if exact else pa.json_()
        if len(self.types) > 1:
            return pa.json_()
        [type_] = self.types
        if type_ is int:
            signed = self._least >= -_INT64 and self._most < _INT64
            small = self._least >= 0 and self._most < _UINT64
            return pa.int64() if signed else pa.uint64() if small else pa.json_()
        if self.each is not None:
            return pa.list_(self.each.arrow)
        if issubclass(type_, Mapping):
            alike = self._present == self._objects * len(self.fields) and self.fields
            if alike or any(name in self.fields for name in _TURN):
                return pa.struct([(name, form.arrow) for name, form in self.fields.items()])
            return pa.json_()
        return {str: pa.string(), bool: pa.bool_(), float: pa.float64()}.get(type_, pa.json_())


def forms_of(records: Iterable[Mapping[str, Any]], forms: dict[str, Form]) -> None:
    """Take records into account in the forms of their columns."""
    for record in records:
        for name, value in record.items():
            forms.setdefault(name, Form()).add((value,))


def table_from(records: Sequence[Mapping[str, Any]], forms: Mapping[str, Form]) -> pa.Table:
    """Return records as a table with the columns `forms`; what a record lacks is null."""
    columns = {
        name: _array([record.get(name) for record in records], form.arrow)
        for name, form in forms.items()
    }
    return pa.table(columns)


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Return values as an array; Arrow itself makes none of JSON within other types."""
    if isinstance(type_, pa.JsonType):
        texts = [
            None if v is None else json.dumps(v, ensure_ascii=False, separators=(",", ":"))
            for v in values
        ]
        return pa.ExtensionArray.from_storage(type_, pa.array(texts, pa.string()))
    if pa.types.is_struct(type_):
        present = [value or {} for value in values]
        children = [_array([v.get(field.name) for v in present], field.type) for field in type_]
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=list(type_), mask=missing)
    if pa.types.is_list(type_):
        ends, flat = [0], list[Any]()
        for value in values:
            flat.extend(value or ())
            ends.append(len(flat))
        mask = pa.array([value is None for value in values], pa.bool_())
        offsets = pa.array(ends, pa.int32())
        inner = _array(flat, type_.value_type)
        return pa.ListArray.from_arrays(offsets, inner, type=type_, mask=mask)
    return pa.array(values, type_)
