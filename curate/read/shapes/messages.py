"""OpenAI chat messages: `messages`, a list of role and content, with tool calls and media parts.

The list may stand there as JSON text, as tables often have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.read.shapes.record_fields import extra_of, listed, messages_of, turns_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

if TYPE_CHECKING:
    import pyarrow as pa


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a list of messages, and is not a pair, nor labelled."""
    turns = listed(data.get("messages"))
    if isinstance(data.get("label"), bool) or {"chosen", "rejected"} <= set(data):
        return False
    return isinstance(turns, list) and not any(
        isinstance(turn, str) or (isinstance(turn, Mapping) and "role" not in turn and len(turn))
        for turn in turns
    )


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation."""
    messages = messages_of(data.get("messages"), "messages")
    return Record("sft", {"messages": messages}, extra_of(data, ("messages",)))


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


class TurnLists(NamedTuple):
    """The turns of all rows, one behind the other, and the offsets at which rows begin."""

    names: pa.StringArray
    contents: pa.StringArray
    offsets: pa.Array

    def messages(self, roles: pa.Array, parts: pa.Array) -> pa.ListArray:
        """Return the turns as messages of these `roles`, with these `parts` beside their text."""
        import pyarrow as pa

        from curate.chunk import MESSAGE

        struct = pa.StructArray.from_arrays([roles, self.contents, parts], fields=list(MESSAGE))
        return pa.ListArray.from_arrays(self.offsets, struct)


def turn_lists(column: pa.ChunkedArray, name: str, content: str) -> TurnLists | None:
    """Return a column of lists of turns, or `None` where a turn or a text in it is missing."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import one_array

    lists = one_array(column)
    turns = lists.flatten()
    names, contents = turns.field(name), turns.field(content)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    if lists.null_count or turns.null_count or names.null_count or contents.null_count:
        return None
    if not lengths.all():
        return None
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return TurnLists(names, contents, pa.array(offsets))


SHAPES = (
    Shape(
        "messages",
        "sft",
        __doc__ or "",
        (("messages",),),
        detect,
        to_record,
        from_row,
        columns,
        to_columns,
    ),
)
