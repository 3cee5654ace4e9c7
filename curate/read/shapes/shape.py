"""What a shape is: how its records are told apart, read, and written again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

# The column in which a record that is a list, not an object, is told.
ARRAY = ""
# Columns that hold a system prompt beside the turns, whatever the shape.
SYSTEM = ("system", "system_prompt", "system_message", "meta_instruction")


class Shape(NamedTuple):
    """A form that records have in the wild: a kind of rows, and the way there and back.

    `signatures` are sets of columns, one of which every record of the shape has (`*.END` is any
    that ends so), and `detect` looks at their values. `to_columns` converts whole columns of the
    Arrow types `columns()`, as `to_record` converts one record; where there is one of the columns
    `closer`, or of `system` (a system prompt beside the turns), only `to_record` will do. `lost`
    names what rows made of its own do not hold, so that they have not this shape. `instances`
    returns the records that one entry of a file holds, where that may be several. Where the shape
    is `grouped`, a row is made of several entries, and `from_row` returns the list of them. Where
    it is `for_reading`, `from_row` takes only rows as they were read; a run's rows leave in the
    shape of their kind.
    """

    name: str
    kind: str
    doc: str
    signatures: Sequence[Sequence[str]]
    detect: Callable[[Mapping[str, Any]], bool]
    to_record: Callable[[Mapping[str, Any]], Record]
    from_row: Callable[[Row], Any]
    columns: Callable[[], dict[str, pa.DataType]] | None = None
    to_columns: Callable[[pa.Table], pa.Table | None] | None = None
    closer: tuple[str, ...] = ()
    system: tuple[str, ...] = SYSTEM
    lost: str | None = None
    instances: Callable[[Any], Sequence[Mapping[str, Any]]] | None = None
    grouped: bool = False
    for_reading: bool = False

    def read(self, data: Mapping[str, Any]) -> Record:
        """Return a record; a column with a system prompt becomes the first turn.

        Raises:
            ValueError: a column is missing, or holds something else.
        """
        from curate.read.shapes.record_fields import with_mark

        given = (n for n in self.system if isinstance(data.get(n), str) and data[n])
        name = next(given, None)
        if name is None:
            return self.to_record(data)
        record = self.to_record({key: value for key, value in data.items() if key != name})
        turns = record.fields[turns_field(record.kind)]
        if turns and turns[0].role in ("system", "developer"):
            return self.to_record(data)
        turns = (Message("system", data[name]), *turns)
        fields = {**record.fields, turns_field(record.kind): turns}
        return Record(record.kind, fields, with_mark(record.extra, "system_column", name))

    def write(self, row: Row) -> Any:
        """Return a row in this shape, a system prompt in the column that it was read from.

        Raises:
            ValueError: the shape cannot hold the row; the message names the loss.
        """
        from curate.read.shapes.record_fields import system_column_of

        name = system_column_of(row)
        field = turns_field(row.kind)
        turns = row.fields.get(field, ())
        if name not in self.system or not turns or turns[0].role != "system":
            return self.from_row(row)
        out = self.from_row(row._replace(fields={**row.fields, field: turns[1:]}))
        if turns[0].parts is not None or name in out:
            raise ValueError(f"column '{name}' cannot hold the system prompt: it is more than text")
        return {name: turns[0].content, **out}


def turns_field(kind: str) -> str:
    """Return the field in which a kind of rows has its first turns."""
    return "messages" if kind == "sft" else "prompt"
