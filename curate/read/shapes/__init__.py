"""The shapes of records in the wild: one module per shape, found by the tree.

A module has `KIND`, `SIGNATURE` (sets of columns: a record of the shape has one of them),
`detect(record)`, `to_record(data)` and `from_row(row)`; it may have `columns()` and
`to_columns(table)`, the same conversion for whole columns. Both take the same columns, and all
others are extra; where one of `CLOSER` is there, only `to_record` will do. `LOST` says what rows
made of its own do not hold, so that they have not this shape.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from curate.errors import InputError, UsageError
from curate.row import Record, Row

if TYPE_CHECKING:
    import pyarrow as pa


# Modules of this package that are no shape but serve several.
_SHARED = ("record_fields", "turns")


class Shape(Protocol):
    """What a module of this package offers."""

    KIND: str
    SIGNATURE: Sequence[Sequence[str]]
    detect: Callable[[Mapping[str, Any]], bool]
    to_record: Callable[[Mapping[str, Any]], Record]
    from_row: Callable[[Row], dict[str, Any]]


class Columnar(Shape, Protocol):
    """A shape that converts whole columns; `columns()` are the Arrow types that it expects."""

    columns: Callable[[], dict[str, pa.DataType]]
    to_columns: Callable[[pa.Table], pa.Table | None]


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all shapes."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name not in _SHARED))


def shape(name: str) -> Shape:
    """Return the shape called `name`, or raise `UsageError` with the nearest names."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise UsageError(f"unknown shape '{name}'{hint} Known shapes: {', '.join(names())}")
    return cast(Shape, importlib.import_module(f"{__name__}.{name}"))


def guess(records: Sequence[Mapping[str, Any]], file: str) -> str:
    """Return the shape that most of the first records of `file` have.

    Raises:
        InputError: none or several shapes fit equally; the message names the columns seen.
    """
    seen = {key for record in records for key in record}
    votes = {}
    for name in names():
        form = shape(name)
        # Most shapes are ruled out by the columns alone.
        if any(seen.issuperset(columns) for columns in form.SIGNATURE):
            votes[name] = sum(map(form.detect, records))
    most = max(votes.values(), default=0)
    fitting = [name for name, count in votes.items() if count == most and most]
    if len(fitting) == 1:
        return fitting[0]
    columns = ", ".join(dict.fromkeys(key for record in records for key in record))
    if fitting:
        raise InputError(
            f"{file}: its columns ({columns}) fit several shapes: {', '.join(fitting)}; choose one "
            "with --shape SHAPE, or `shape:` in the recipe"
        )
    raise InputError(
        f"{file}: its columns ({columns}) fit no shape; rename them, for example to messages, "
        "instruction and output, prompt and completion, or prompt, chosen and rejected; or name a "
        f"shape with --shape SHAPE. Known shapes: {', '.join(names())}"
    )
