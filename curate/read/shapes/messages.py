"""OpenAI chat messages: `messages`, a list of role and content, with tool calls and media parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.read.shapes.record_fields import extra_of, messages_of, turns_of, with_extra
from curate.read.shapes.turns import turn_lists
from curate.row import Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
SIGNATURE = (("messages",),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a list of messages, which are no turns of ShareGPT's."""
    turns = data.get("messages")
    return isinstance(turns, list) and not any(
        isinstance(turn, Mapping) and "from" in turn and "role" not in turn for turn in turns
    )


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
    import pyarrow as pa

    turns = turn_lists(table.column("messages"), "role", "content")
    if turns is None:
        return None
    messages = turns.messages(turns.names, pa.nulls(len(turns.names), pa.string()))
    return pa.table({"messages": messages, "extra": pa.nulls(len(table), pa.string())})
