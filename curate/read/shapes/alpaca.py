"""Alpaca: `instruction`, `input` and `output`; the input joins the instruction.

Taori et al. 2023. The way back splits the input off again where the text still ends with it, by a
mark that the reader leaves in `extra`. An input that is empty, null or absent is the same. As in
LLaMA-Factory's dialect, `history` may hold the turns before, in pairs. GPTeacher calls the answer
`response`; Dolly (Databricks 2023) the input `context` as well. LLaMA-Factory's older preference
data holds a list of two outputs, the chosen one first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.record_fields import dumps, extra_of, mark, only_turn, text_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

_JOINT = "\n\n"


def task_record(data: Mapping[str, Any], answer: str, given: str = "input") -> Record:
    """Return an instruction, the input in column `given` and an answer as two turns."""
    content, marks = joined(data, given)
    turns: list[Message] = []
    taken, history = ["instruction", given, answer], data.get("history")
    if isinstance(history, list) and history and all(map(_is_exchange, history)):
        for asked, answered in history:
            turns += [Message("user", asked), Message("assistant", answered)]
        marks = {**marks, "read_as": {"history": True}}
        taken.append("history")
    turns += [Message("user", content), Message("assistant", text_of(data, answer))]
    return Record("sft", {"messages": tuple(turns)}, extra_of(data, taken, **marks))


def _is_exchange(turns: Any) -> bool:
    return isinstance(turns, list) and len(turns) == 2 and all(isinstance(t, str) for t in turns)


def task_of(row: Row, answer: str, given: str = "input") -> dict[str, Any]:
    """Return two turns as instruction, input and answer; more where they were read so."""
    messages, dialect = row.messages, mark(row, "read_as")
    before: dict[str, Any] = {}
    if any(m.parts for m in messages):
        raise ValueError("this shape holds turns of plain text only")
    if isinstance(dialect, dict) and dialect.get("history"):
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


def joined(data: Mapping[str, Any], given: str) -> tuple[str, dict[str, Any]]:
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


def task_columns(answer: str, given: str = "input") -> dict[str, pa.DataType]:
    """Return the columns that `task_table` reads."""
    import pyarrow as pa

    return dict.fromkeys(("instruction", given, answer), pa.string())


def task_table(table: pa.Table, answer: str, given: str = "input") -> pa.Table | None:
    """Do the work of `task_record` on whole columns; `None` where it would refuse a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import one_array

    instruction, material, reply = (
        one_array(table.column(n)) for n in ("instruction", given, answer)
    )
    if instruction.null_count or reply.null_count:
        return None
    material = pc.fill_null(material, "")
    empty = pc.equal(material, "")
    both = pc.binary_join_element_wise(instruction, material, _JOINT)
    content = pc.if_else(empty, instruction, both)
    lengths = pc.cast(pc.utf8_length(material), pa.string())
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


def _task_shape(name: str, doc: str, answer: str, given: str = "input", *others: str) -> Shape:
    """Return a shape of tasks; records with one of the columns `others` have another."""

    def detect(data: Mapping[str, Any]) -> bool:
        return isinstance(data.get(answer), str | None) and not any(n in data for n in others)

    needed = ("instruction", answer) if given == "input" else ("instruction", given, answer)
    return Shape(
        name,
        "sft",
        doc,
        (needed,),
        detect,
        functools.partial(task_record, answer=answer, given=given),
        functools.partial(task_of, answer=answer, given=given),
        functools.partial(task_columns, answer=answer, given=given),
        functools.partial(task_table, answer=answer, given=given),
        ("history",),
    )


_SIDES = ("chosen", "rejected")


def _is_pair(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("output"), list)


def _pair(data: Mapping[str, Any]) -> Record:
    """Return a task with two outputs as a pair."""
    if not _is_exchange(data.get("output")):
        raise ValueError("column 'output' must be a list of two texts, the chosen one first")
    content, marks = joined(data, "input")
    sides = {
        name: (Message("assistant", text),)
        for name, text in zip(_SIDES, data["output"], strict=True)
    }
    fields = {"prompt": (Message("user", content),), **sides, "margin": None, "p_chosen": None}
    extra = extra_of(data, ("instruction", "input", "output"), **marks)
    return Record("preference", fields, extra)


def _from_pair(row: Row) -> dict[str, Any]:
    if row.fields.get("margin") is not None or row.fields.get("p_chosen") is not None:
        raise ValueError("the shape has no column for a margin or `p_chosen`")
    content, material = parted(row, only_turn(row.prompt, "user"))
    sides = [only_turn(row.fields[name], "assistant") for name in _SIDES]
    return with_extra({"instruction": content, "input": material, "output": sides}, row)


SHAPES = (
    _task_shape("alpaca", __doc__ or "", "output"),
    _task_shape(
        "alpaca_response",
        "Alpaca's columns with `response` for `output`, as GPTeacher writes them.",
        "response",
        "input",
        "output",
        "context",
    ),
    _task_shape(
        "dolly",
        "Dolly: `instruction`, `context`, `response` and a `category` (Databricks 2023).",
        "response",
        "context",
    ),
    Shape(
        "alpaca_pair",
        "preference",
        "A task whose `output` is a list of two texts, chosen and rejected (LLaMA-Factory).",
        (("instruction", "output"),),
        _is_pair,
        _pair,
        _from_pair,
    ),
)
