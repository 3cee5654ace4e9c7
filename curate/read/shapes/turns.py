"""Lists of turns as Arrow columns: what chat messages and ShareGPT's conversations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


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
