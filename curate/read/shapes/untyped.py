"""Records without columns of a known meaning: lists of turns, and tables of any columns.

A table's columns travel in `extra` as they are; the row's text shows them, `name: value` on lines,
so that filters and duplicates work on tables, too. No file is taken for a table unless it is said
to be one. The price: a table's texts are held twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import MARKS, dumps, extra_columns, extra_of, mark
from curate.read.shapes.shape import ARRAY, Shape
from curate.read.shapes.sides import side_from, side_to
from curate.row import Message, Record, Row

TABLE = "table"


def _is_list(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a list of turns."""
    try:
        _list(data)
    except ValueError:
        return False
    return True


def _list(data: Mapping[str, Any]) -> Record:
    """Return the list as a conversation."""
    if set(data) != {ARRAY}:
        raise ValueError("a record must be a list of turns")
    turns, form = side_from(data[ARRAY], "the array", "user", alternating=True)
    extra = None if form == "messages" else f'{{"read_as":"{form}"}}'
    return Record("sft", {"messages": turns}, extra)


def _from_list(row: Row) -> Any:
    """Return the conversation as a list, in the form that it was read from."""
    if extra := extra_columns(row):
        raise ValueError(f"a list of turns has no place for the column '{next(iter(extra))}'")
    form = mark(row, "read_as")
    return side_to(row.messages, form if isinstance(form, str) else "messages", "user")


def table_columns(row: Row) -> dict[str, Any] | None:
    """Return the columns of a row that was read as a table, `None` for one of another shape."""
    found = json.loads(row.extra or "{}")
    if found.get("read_as") != TABLE:
        return None
    return {name: value for name, value in found.items() if name not in MARKS}


def table_record(data: Mapping[str, Any]) -> Record:
    """Return a prompt that shows the columns, which are all extra."""
    if not data:
        raise ValueError("a record of a table needs at least one column")
    extra = extra_of(data, (), read_as=TABLE)
    return Record("prompt", {"prompt": (Message("user", _text(data)),)}, extra)


def _from_table(row: Row) -> dict[str, Any]:
    """Return the columns, unless the text that shows them was rewritten."""
    columns = table_columns(row)
    if columns is None:
        raise ValueError("only rows read as a table have its columns")
    if row.prompt != (Message("user", _text(columns)),):
        raise ValueError("the text of a table's row was rewritten, and its columns were not")
    return columns


def _text(data: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else dumps(value)}"
        for name, value in data.items()
    )


SHAPES = (
    Shape(
        "turn_list",
        "sft",
        "Records that are lists of turns: each line of a file an array, of messages or of texts.",
        ((ARRAY,),),
        _is_list,
        _list,
        _from_list,
        system=(),
    ),
    Shape(
        TABLE,
        "prompt",
        "A table of any columns, for `template` to make tasks of; only where `shape` says so.",
        (),
        lambda _: False,
        table_record,
        _from_table,
        system=(),
    ),
)
