"""Alpaca: `instruction`, `input` and `output`; the input joins the instruction.

Taori et al. 2023. The way back splits the input off again where the text still ends with it, by a
mark that the reader leaves in `extra`. An input that is empty, null or absent is the same. As in
LLaMA-Factory's dialect, `system` may hold a system prompt and `history` the turns before, in pairs.
`alpaca_response` is the same shape with `response` for `output` (GPTeacher).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.record_fields import dumps, extra_of, mark, text_of, with_extra
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
# Where there is such a column, whole columns are not enough.
CLOSER = ("system", "history")
_ANSWER = "output"
_JOINT = "\n\n"
SIGNATURE = (("instruction", _ANSWER),)


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
    before, dialect = _turns_before(data)
    messages = (*before, Message("user", content), Message("assistant", text_of(data, answer)))
    taken = ("instruction", given, answer, *dialect)
    read_as = {"read_as": dialect} if dialect else {}
    return Record(KIND, {"messages": messages}, extra_of(data, taken, **marks, **read_as))


def _turns_before(data: Mapping[str, Any]) -> tuple[tuple[Message, ...], dict[str, bool]]:
    """Return the system prompt and the turns in `history`, and which of the columns hold any."""
    system, history = data.get("system"), data.get("history")
    turns, dialect = [], {}
    if isinstance(system, str) and system:
        turns.append(Message("system", system))
        dialect["system"] = True
    if isinstance(history, list) and history and all(map(_is_pair, history)):
        for asked, answered in history:
            turns += [Message("user", asked), Message("assistant", answered)]
        dialect["history"] = True
    return tuple(turns), dialect


def _is_pair(turns: Any) -> bool:
    return isinstance(turns, list) and len(turns) == 2 and all(isinstance(t, str) for t in turns)


def task_of(row: Row, answer: str, given: str = "input") -> dict[str, Any]:
    """Return two turns as instruction, input and answer; more where they were read so."""
    messages, dialect = row.messages, mark(row, "read_as")
    dialect = dialect if isinstance(dialect, dict) else {}
    before: dict[str, Any] = {}
    if any(m.parts for m in messages):
        raise ValueError("this shape holds turns of plain text only")
    if dialect.get("system") and messages and messages[0].role == "system":
        before["system"], messages = messages[0].content, messages[1:]
    if dialect.get("history"):
        before["history"] = [
            [asked.content, answered.content]
            for asked, answered in zip(messages[:-2:2], messages[1:-2:2], strict=False)
        ]
    count = 1 + len(before.get("history", ()))
    if [m.role for m in messages] != ["user", "assistant"] * count:
        raise ValueError("this shape holds one user and one assistant turn of plain text")
    content, material = parted(row, messages[-2].content)
    task = {"instruction": content, given: material, answer: messages[-1].content}
    return with_extra({**task, **before}, row)


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
