"""Alpaca: `instruction`, `input` and `output` (or `response`); the input joins the instruction.

Taori et al. 2023. The way back splits the input off again where the text still ends with it, by a
mark that the reader leaves in `extra`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.fields import dumps, extra_columns, extra_of, text_of
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
_ANSWERS = ("output", "response")
_JOINT = "\n\n"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has Alpaca's columns."""
    return "instruction" in data and any(name in data for name in _ANSWERS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation of two turns."""
    name = "output" if "output" in data else "response"
    instruction, answer = text_of(data, "instruction"), text_of(data, name)
    given = "" if data.get("input") is None else text_of(data, "input")
    marks = {"input_chars": len(given)} if given else {}
    extra = extra_of(data, ("instruction", "input", name), **marks)
    content = f"{instruction}{_JOINT}{given}" if given else instruction
    messages = (Message("user", content), Message("assistant", answer))
    return Record(KIND, {"messages": messages}, extra)


def from_row(row: Row) -> dict[str, Any]:
    """Return the row in Alpaca's columns; a longer conversation has none."""
    messages = row.messages
    if [m.role for m in messages] != ["user", "assistant"] or any(m.parts for m in messages):
        raise ValueError("Alpaca holds one user and one assistant turn of plain text")
    content, given = messages[0].content, ""
    marked = (json.loads(row.extra) if row.extra else {}).get("input_chars")
    if isinstance(marked, int) and content[: -marked or None].endswith(_JOINT):
        content, given = content[: -marked - len(_JOINT)], content[-marked:]
    out = {"instruction": content, "input": given, "output": messages[1].content}
    return out | {k: v for k, v in extra_columns(row).items() if k not in out}


def columns() -> dict[str, pa.DataType]:
    """Return the columns of the vectorised form; either answer column may stand."""
    import pyarrow as pa

    return dict.fromkeys(("instruction", "input", *_ANSWERS), pa.string())


def to_columns(table: pa.Table) -> pa.Table | None:
    """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import one_array

    parts = {name: one_array(table.column(name)) for name in table.column_names}
    answers = [name for name in _ANSWERS if name in parts and parts[name].null_count < len(table)]
    if len(answers) != 1 or parts["instruction"].null_count or parts[answers[0]].null_count:
        return None
    given = pc.fill_null(parts.get("input", pa.nulls(len(table), pa.string())), "")
    empty = pc.equal(given, "")
    joined = pc.binary_join_element_wise(parts["instruction"], given, _JOINT)
    content = pc.if_else(empty, parts["instruction"], joined)
    lengths = pc.cast(pc.utf8_length(given), pa.string())
    mark = pc.binary_join_element_wise(dumps({"input_chars": 0})[:-2], lengths, "}", "")
    extra = pc.if_else(empty, pa.scalar(None, pa.string()), mark)
    return pa.table({"messages": two_turns(content, parts[answers[0]]), "extra": extra})


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
