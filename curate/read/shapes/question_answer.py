"""A question and its answer, as GSM8K and many test sets write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, text_of, with_extra
from curate.row import Message, Record, Row

KIND = "sft"
_COLUMNS = ("question", "answer")
SIGNATURE = (_COLUMNS,)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a question and a text that answers it."""
    return "question" in data and isinstance(data.get("answer"), str) and "rationale" not in data


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation of two turns."""
    question, answer = (text_of(data, name) for name in _COLUMNS)
    messages = (Message("user", question), Message("assistant", answer))
    return Record(KIND, {"messages": messages}, extra_of(data, _COLUMNS))


def from_row(row: Row) -> dict[str, Any]:
    """Return two turns as question and answer."""
    messages = row.messages
    if [m.role for m in messages] != ["user", "assistant"] or any(m.parts for m in messages):
        raise ValueError("this shape holds one user and one assistant turn of plain text")
    return with_extra({"question": messages[0].content, "answer": messages[1].content}, row)
