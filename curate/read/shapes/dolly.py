"""Dolly: `instruction`, `context`, `response` and a `category` (Databricks 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.alpaca import task_of, task_record
from curate.row import Record, Row

KIND = "sft"
_GIVEN, _ANSWER = "context", "response"
SIGNATURE = (("instruction", _GIVEN, _ANSWER),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has Dolly's columns."""
    return all(name in data for name in ("instruction", _GIVEN, _ANSWER))


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation of two turns; the context joins the instruction."""
    return task_record(data, _ANSWER, _GIVEN)


def from_row(row: Row) -> dict[str, Any]:
    """Return the row as instruction, context and response; a longer conversation has none."""
    return task_of(row, _ANSWER, _GIVEN)
