"""Alpaca's columns with `response` for `output`, as GPTeacher writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes import alpaca
from curate.read.shapes.alpaca import task_columns, task_of, task_record, task_table
from curate.row import Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
CLOSER = alpaca.CLOSER
_ANSWER = "response"
SIGNATURE = (("instruction", _ANSWER),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and a response, and is none of Dolly's."""
    return "instruction" in data and _ANSWER in data and not {"output", "context"} & set(data)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation of two turns."""
    return task_record(data, _ANSWER)


def from_row(row: Row) -> dict[str, Any]:
    """Return the row as instruction, input and response; a longer conversation has none."""
    return task_of(row, _ANSWER)


def columns() -> dict[str, pa.DataType]:
    """Return the columns of the vectorised form."""
    return task_columns(_ANSWER)


def to_columns(table: pa.Table) -> pa.Table | None:
    """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
    return task_table(table, _ANSWER)
