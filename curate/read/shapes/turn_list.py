"""Records that are lists of turns: each line of a file an array, of messages or of texts.

Such a record is told here as an object with one column of an empty name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_columns, mark
from curate.read.shapes.shape import ARRAY, Shape
from curate.read.shapes.sides import side_from, side_to
from curate.row import Record, Row


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a list of turns."""
    try:
        to_record(data)
    except ValueError:
        return False
    return True


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the list as a conversation."""
    if set(data) != {ARRAY}:
        raise ValueError("a record must be a list of turns")
    turns, form = side_from(data[ARRAY], "the array", "user", alternating=True)
    extra = None if form == "messages" else f'{{"read_as":"{form}"}}'
    return Record("sft", {"messages": turns}, extra)


def from_row(row: Row) -> Any:
    """Return the conversation as a list, in the form that it was read from."""
    if extra := extra_columns(row):
        raise ValueError(f"a list of turns has no place for the column '{next(iter(extra))}'")
    form = mark(row, "read_as")
    return side_to(row.messages, form if isinstance(form, str) else "messages", "user")


SHAPES = (
    Shape(
        "turn_list",
        "sft",
        __doc__ or "",
        ((ARRAY,),),
        detect,
        to_record,
        from_row,
        system=(),
    ),
)
