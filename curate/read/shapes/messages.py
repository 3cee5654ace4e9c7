"""OpenAI chat messages: `messages`, a list of role and content, with tool calls and media parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.fields import extra_of, messages_of, turns_of, with_extra
from curate.row import Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a list of messages."""
    return isinstance(data.get("messages"), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation."""
    return Record(
        KIND,
        {"messages": messages_of(data.get("messages"), "messages")},
        extra_of(data, ("messages",)),
    )


def from_row(row: Row) -> dict[str, Any]:
    """Return the row as chat data with its extra columns."""
    return with_extra({"messages": turns_of(row.messages)}, row)


def columns() -> dict[str, pa.DataType]:
    """Return the column of the vectorised form."""
    import pyarrow as pa

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    return {"messages": pa.list_(turn)}


def to_columns(table: pa.Table) -> pa.Table | None:
    """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import MESSAGE, one_array

    column = one_array(table.column("messages"))
    turns = column.flatten()
    roles, contents = turns.field("role"), turns.field("content")
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    if column.null_count or turns.null_count or roles.null_count or contents.null_count:
        return None
    if not lengths.all():
        return None
    struct = pa.StructArray.from_arrays(
        [roles, contents, pa.nulls(len(turns), pa.string())], fields=list(MESSAGE)
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    messages = pa.ListArray.from_arrays(pa.array(offsets), struct)
    return pa.table({"messages": messages, "extra": pa.nulls(len(table), pa.string())})
