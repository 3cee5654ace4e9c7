"""FLAN's chain-of-thought files: a question, its short answer, and the rationale behind it.

Longpre et al. 2023. The assistant reasons first and then names the answer, so that a model trained
on it does so too; the way back cuts the two apart where the mark in `extra` still fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, mark, text_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_COLUMNS = ("question", "answer", "rationale")
_JOINT, _END = "\nThe answer is ", "."


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a question, an answer and a rationale."""
    return all(name in data for name in _COLUMNS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the question as the user's turn, rationale and answer as the assistant's."""
    question, answer, rationale = (text_of(data, name) for name in _COLUMNS)
    messages = (
        Message("user", question),
        Message("assistant", f"{rationale}{_JOINT}{answer}{_END}"),
    )
    extra = extra_of(data, _COLUMNS, rationale_chars=len(rationale))
    return Record("sft", {"messages": messages}, extra)


def from_row(row: Row) -> dict[str, Any]:
    """Return question, answer and rationale; other conversations have none."""
    length = mark(row, "rationale_chars")
    if not isinstance(length, int) or [m.role for m in row.messages] != ["user", "assistant"]:
        raise ValueError("only rows read from this shape say where the rationale ends")
    question, reply = (message.content for message in row.messages)
    rationale, rest = reply[:length], reply[length:]
    if not rest.startswith(_JOINT) or not rest.endswith(_END):
        raise ValueError("the answer was rewritten, so its rationale cannot be told from it")
    answer = rest[len(_JOINT) : -len(_END)]
    return with_extra({"question": question, "answer": answer, "rationale": rationale}, row)


SHAPES = (Shape("flan", "sft", __doc__ or "", (_COLUMNS,), detect, to_record, from_row),)
