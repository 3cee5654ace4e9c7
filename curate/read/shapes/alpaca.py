"""Alpaca: `instruction`, `input` and `output`; the input joins the instruction.

Taori et al. 2023. The way back splits the input off again where the text still ends with it, by a
mark that the reader leaves in `extra`. An input that is empty, null or absent is the same.
`alpaca_response` is the same shape with `response` for `output` (GPTeacher).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.fields import dumps, extra_of, mark, text_of, with_extra
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
_ANSWER = "output"
_JOINT = "\n\n"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has Alpaca's columns."""
    return "instruction" in data and _ANSWER in data


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation of two turns."""
    return task_record(data, _ANSWER)


def from_row(row: Row) -> dict[str, Any]:
    """Return the row in Alpaca's columns; a longer conversation has none."""
    return task_of(row, _ANSWER)


def columns() -> dict[str, pa.DataType]:
    """Return the columns of the vectorised form."""
    return task_columns(_ANSWER)


def to_columns(table: pa.Table) -> pa.Table | None:
    """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
    return task_table(table, _ANSWER)


# -- a task with an input, whatever its columns are called ----------------------------------------


def task_record(data: Mapping[str, Any], answer: str, given: str = "input") -> Record:
    """Return an instruction, the input in column `given` and an answer as two turns."""
    content, marks = joined(data, given)
    messages = (Message("user", content), Message("assistant", text_of(data, answer)))
    extra = extra_of(data, ("instruction", given, answer), **marks)
    return Record(KIND, {"messages": messages}, extra)


def task_of(row: Row, answer: str, given: str = "input") -> dict[str, Any]:
    """Return two turns as instruction, input and answer."""
    messages = row.messages
    if [m.role for m in messages] != ["user", "assistant"] or any(m.parts for m in messages):
        raise ValueError("this shape holds one user and one assistant turn of plain text")
    content, material = parted(row, messages[0].content)
    task = {"instruction": content, given: material, answer: messages[1].content}
    return with_extra(task, row)


def joined(data: Mapping[str, Any], given: str) -> tuple[str, dict[str, int]]:
    """Return instruction and input as one text, and the mark by which they part again."""
    instruction = text_of(data, "instruction")
    material = "" if data.get(given) is None else text_of(data, given)
    if not material:
        return instruction, {}
    return f"{instruction}{_JOINT}{material}", {"input_chars": len(material)}


def parted(row: Row, content: str) -> tuple[str, str]:
    """Return instruction and input of a text, where its row says where the input begins."""
    length = mark(row, "input_chars")
    if isinstance(length, int) and length > 0 and content[:-length].endswith(_JOINT):
        return content[: -length - len(_JOINT)], content[-length:]
    return content, ""


def task_columns(answer: str) -> dict[str, pa.DataType]:
    """Return the columns that `task_table` reads."""
    import pyarrow as pa

    return dict.fromkeys(("instruction", "input", answer), pa.string())


def task_table(table: pa.Table, answer: str) -> pa.Table | None:
    """Do the work of `task_record` on whole columns; `None` where it would refuse a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import one_array

    instruction, given, reply = (
        one_array(table.column(n)) for n in ("instruction", "input", answer)
    )
    if instruction.null_count or reply.null_count:
        return None
    given = pc.fill_null(given, "")
    empty = pc.equal(given, "")
    joined = pc.binary_join_element_wise(instruction, given, _JOINT)
    content = pc.if_else(empty, instruction, joined)
    lengths = pc.cast(pc.utf8_length(given), pa.string())
    marks = pc.binary_join_element_wise(dumps({"input_chars": 0})[:-2], lengths, "}", "")
    extra = pc.if_else(empty, pa.scalar(None, pa.string()), marks)
    return pa.table({"messages": two_turns(content, reply), "extra": extra})


def two_turns(user: pa.Array, assistant: pa.Array) -> pa.ListArray:
    """Return conversations of one user and one assistant turn, column by column."""
    import numpy as np
    import pyarrow as pa

    from curate.chunk import MESSAGE, one_array

    count = len(user)
    order = np.arange(2 * count).reshape(2, count).T.reshape(-1)
    contents = pa.concat_arrays([one_array(user), one_array(assistant)]).take(pa.array(order))
    codes = pa.array(np.tile(np.array([0, 1], np.int8), count))
    roles = pa.array(["user", "assistant"]).take(codes)
    turns = pa.StructArray.from_arrays(
        [roles, contents, pa.nulls(2 * count, pa.string())], fields=list(MESSAGE)
    )
    offsets = pa.array(np.arange(0, 2 * count + 1, 2, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, turns)
