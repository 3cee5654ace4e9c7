"""The columnar face of rows: an Arrow table of rows of any kind, and its texts, ids and row views.

One table holds all kinds side by side (a field of another kind is null), so that a pipeline that
mixes kinds needs no second path. The cost is a few null columns, which Arrow stores as offsets.
Columns between steps: `id seq source kind`, the fields present, `extra parents notes`, and one
float64 column `score:LABEL` for each step that scored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.row import (
    FIELD_TYPES,
    KINDS,
    MEDIA,
    RESPONSE_FIELD,
    TOOLS,
    WHOLE_FIELDS,
    Candidate,
    Message,
    On,
    Row,
)

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("parts", pa.string())])
MESSAGES = pa.list_(MESSAGE)
CANDIDATES = pa.list_(
    pa.struct(
        [
            ("messages", MESSAGES),
            ("score", pa.float64()),
            ("model", pa.string()),
            ("extra", pa.string()),
        ]
    )
)
ID = pa.binary(16)
SEQ = pa.list_(pa.int64())
_ARROW = {
    "messages": MESSAGES,
    "number": pa.float64(),
    "flag": pa.bool_(),
    "candidates": CANDIDATES,
}
FIELDS: dict[str, pa.DataType] = {name: _ARROW[type_] for name, type_ in FIELD_TYPES.items()}
HEAD: dict[str, pa.DataType] = {"id": ID, "seq": SEQ, "source": pa.string(), "kind": pa.string()}
TAIL: dict[str, pa.DataType] = {"extra": pa.string(), "parents": pa.list_(ID), "notes": pa.string()}
# The column that says where a row comes from with which a `Whole` compares its own.
ORIGIN = "origin"
SCORE = "score:"
# Of a column of embeddings, where some text was not read in whole: a hash of the tokens read, and
# the text's number (0, 0: it was read in whole).
READ = "read:"
# What JSON text holds where there are media, and where there may be tool calls or media.
_MEDIA_KEY = f'"(?:{"|".join(MEDIA)})"'
_WHOLE_KEY = f'"(?:{"|".join((*MEDIA, *TOOLS))})"'
_ATTACHED_KEY = f'{_MEDIA_KEY}|"(?:tool_calls|function_call|content)"'


class Chunk:
    """A slice of rows as columns.

    `large` tells vectorised steps that the run is big enough to pay for compiled kernels; answers
    never depend on it.
    """

    def __init__(self, table: pa.Table, *, run_seed: int = 0, large: bool = False) -> None:
        """Wrap `table` (the columns named in this module's docstring)."""
        self.table, self.run_seed, self.large = table, run_seed, large
        # What is shared must not point back here: tables would wait for the cyclic collector.
        self._shared: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """Return a column as one contiguous array; a field that is absent comes back all null."""
        if name not in self.table.column_names:
            return pa.nulls(len(self), {**FIELDS, **HEAD, **TAIL}.get(name, pa.float64()))
        return one_array(self.table.column(name))

    def scores(self, label: str) -> np.ndarray:
        """Return the scores of the step `label` as float64, NaN where it gave none."""
        column = self.column(SCORE + label)
        return np.asarray(pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False))

    @functools.cached_property
    def kinds(self) -> list[str]:
        """The kinds present, sorted."""
        return sorted(k for k in pc.unique(self.column("kind")).to_pylist() if k)

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` gives, made once for all steps that ask under the same `key`."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def texts(self, on: On) -> pa.StringArray:
        """Return the text that `on` names for every row, equal to `Row.text(on)`."""
        return self.shared(("text", on), lambda: self._text_column(on))

    def attached(self, on: On) -> dict[int, str]:
        """Return `Row.attached(on)` of the rows that have tool calls or media, by their place."""
        found: dict[int, str] = self.shared(("attached", on), lambda: self._attached(on))
        return found

    def _attached(self, on: On) -> dict[int, str]:
        hits = np.zeros(len(self), np.bool_)
        extra = self.column("extra")
        if extra.null_count < len(extra):
            found = pc.match_substring_regex(extra, _WHOLE_KEY if on == "whole" else _MEDIA_KEY)
            hits |= np.asarray(pc.fill_null(found, False))
        for name, type_ in FIELD_TYPES.items():
            if name not in self.table.column_names or type_ not in ("messages", "candidates"):
                continue
            lists = self.column(name)
            turns = lists.flatten().field("messages") if type_ == "candidates" else lists
            parts = turns.flatten().field("parts")
            if parts.null_count == len(parts):
                continue
            owner = np.asarray(pc.list_parent_indices(turns))
            if type_ == "candidates":
                owner = np.asarray(pc.list_parent_indices(lists))[owner]
            found = pc.match_substring_regex(parts, _ATTACHED_KEY)
            hits[owner[np.asarray(pc.fill_null(found, False))]] = True
        where = np.flatnonzero(hits)
        rows = rows_of(self.table.take(pa.array(where)), self.run_seed)
        texts = ((place, row.attached(on)) for place, row in zip(where.tolist(), rows, strict=True))
        return {place: text for place, text in texts if text}

    def _text_column(self, on: On) -> pa.StringArray:
        """Compute one text column, kind by kind."""
        if len(self.kinds) == 1:
            return _text_of_kind(self, self.kinds[0], on)
        out, kind_column = [""] * len(self), self.column("kind")
        for kind in self.kinds:
            where = np.flatnonzero(np.asarray(pc.equal(kind_column, kind)))
            part = Chunk(self.table.take(pa.array(where)))
            for index, text in zip(where, _text_of_kind(part, kind, on).to_pylist(), strict=True):
                out[index] = text
        return pa.array(out, pa.string())

    def rows(self) -> list[Row]:
        """Return row views, in order."""
        return list(rows_of(self.table, self.run_seed))


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without copying when it already is one."""
    if isinstance(column, pa.Array):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])
    )


def vectors(sketches: pa.Table, name: str) -> np.ndarray:
    """Return a column of embeddings as a float32 matrix with a row for each, not copied."""
    column = one_array(sketches.column(name))
    flat: np.ndarray = column.flatten().to_numpy()
    return flat.reshape(len(column), column.type.list_size)


def _text_of_kind(chunk: Chunk, kind: str, on: On) -> pa.StringArray:
    if on == "response":
        if kind not in RESPONSE_FIELD:
            return pa.array([""] * len(chunk), pa.string())
        return _turn(chunk.column(RESPONSE_FIELD[kind]), "assistant", last=True)
    if on == "instruction":
        return _turn(chunk.column("messages" if kind == "sft" else "prompt"), "user", last=False)
    pieces = []
    for name in WHOLE_FIELDS[kind]:
        column = chunk.column(name)
        if name == "candidates":
            return pa.array([row.whole for row in chunk.rows()], pa.string())
        texts = same_lists(column, turn_texts(column.flatten()))
        pieces.append(pc.fill_null(pc.binary_join(texts, "\n"), ""))
    if len(pieces) == 1:
        return pieces[0]
    empty = [
        np.asarray(pc.fill_null(pc.list_value_length(chunk.column(n)), 0)) == 0
        for n in WHOLE_FIELDS[kind]
    ]
    both = pc.binary_join_element_wise(*pieces, "\n")
    # An empty turn list joins nothing, not an empty line.
    return pc.if_else(
        pa.array(empty[0]), pieces[1], pc.if_else(pa.array(empty[1]), pieces[0], both)
    )


def _turn(messages: pa.ListArray, role: str, *, last: bool) -> pa.StringArray:
    """Return the content of each list's first (or last) message of `role`, or an empty text."""
    flat, parents = messages.flatten(), np.asarray(pc.list_parent_indices(messages))
    hits = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(flat.field("role"), role), False)))
    owner = parents[hits]
    edge = np.ones(len(hits), bool)
    if last:
        edge[:-1] = owner[1:] != owner[:-1]
    else:
        edge[1:] = owner[1:] != owner[:-1]
    hits, owner = hits[edge], owner[edge]
    contents = turn_texts(flat).take(pa.array(hits))
    if len(owner) == len(messages):
        return contents
    where = np.full(len(messages), -1, np.int64)
    where[owner] = np.arange(len(owner))
    index = pa.array(where, mask=where < 0)
    return pc.fill_null(contents.take(index), "")


def turn_texts(turns: pa.StructArray) -> pa.StringArray:
    """Return `Message.text` of every turn: its content, or its tool calls where it has none."""
    contents, parts = turns.field("content"), turns.field("parts")
    if parts.null_count == len(parts):
        return contents
    calling = pc.fill_null(pc.match_substring_regex(parts, "tool_calls|function_call"), False)
    where = np.flatnonzero(np.asarray(calling))
    if not len(where):
        return contents
    called = turns.take(pa.array(where))
    triples = (called.field(name).to_pylist() for name in ("role", "content", "parts"))
    mask = np.zeros(len(turns), np.bool_)
    mask[where] = True
    texts = [Message(*triple).text for triple in zip(*triples, strict=True)]
    return pc.replace_with_mask(contents, pa.array(mask), pa.array(texts, pa.string()))


def same_lists(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Return a list array with `values` cut like `lists` (whose nulls must be empty lists)."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def rows_of(table: pa.Table, run_seed: int = 0) -> Iterable[Row]:
    """Yield a row view for each row of `table`."""
    names = [n for n in table.column_names if n in FIELDS]
    columns = {n: _values(one_array(table.column(n)), FIELD_TYPES[n]) for n in names}
    labels = [n for n in table.column_names if n.startswith(SCORE)]
    scores = {n[len(SCORE) :]: table.column(n).to_pylist() for n in labels}
    heads: dict[str, list[Any]] = {
        n: table.column(n).to_pylist() if n in table.column_names else [None] * table.num_rows
        for n in ("id", "seq", "source", "kind", "extra", "parents", "notes")
    }
    for i in range(table.num_rows):
        kind = heads["kind"][i]
        yield Row(
            heads["id"][i].hex(),
            tuple(heads["seq"][i]),
            kind,
            {name: columns[name][i] if name in columns else None for name in KINDS.get(kind, ())},
            heads["source"][i],
            heads["extra"][i],
            tuple(p.hex() for p in heads["parents"][i] or ()),
            {label: values[i] for label, values in scores.items()},
            heads["notes"][i],
            run_seed,
        )


def _values(column: pa.Array, type_: str) -> list[Any]:
    """Return a field column as Python values; messages come as tuples of `Message`."""
    if type_ == "messages":
        return _message_lists(column)
    if type_ != "candidates":
        return list(column.to_pylist())
    flat = column.flatten()
    # Files of earlier versions know of no `extra`.
    names = [name for name in ("score", "model", "extra") if flat.type.get_field_index(name) >= 0]
    columns = [flat.field(name).to_pylist() for name in names]
    items = list(map(Candidate, _message_lists(flat.field("messages")), *columns))
    return _cut(column, items)


def _message_lists(column: pa.ListArray) -> list[Any]:
    flat = column.flatten()
    triples = (flat.field(name).to_pylist() for name in ("role", "content", "parts"))
    return _cut(column, list(map(Message, *triples)))


def _cut(column: pa.ListArray, items: list[Any]) -> list[Any]:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    out, start = [], 0
    for length in lengths:
        out.append(tuple(items[start : start + length]))
        start += length
    return out


def table_of(rows: Sequence[Row], labels: Sequence[str] = ()) -> pa.Table:
    """Return rows as a table: the way back from `rows_of`. `labels` names the score columns."""
    kinds = {row.kind for row in rows if row.kind}
    columns: dict[str, pa.Array] = {
        "id": pa.array([bytes.fromhex(r.id) for r in rows], ID),
        "seq": pa.array([r.seq for r in rows], SEQ),
        "source": pa.array([r.source for r in rows], pa.string()),
        "kind": pa.array([r.kind for r in rows], pa.string()),
    }
    for name in FIELDS:
        if any(name in KINDS[k] for k in kinds):
            columns[name] = field_array(name, [r.fields.get(name) for r in rows])
    columns["extra"] = pa.array([r.extra for r in rows], pa.string())
    columns["parents"] = pa.array(
        [[bytes.fromhex(p) for p in r.parents] for r in rows], TAIL["parents"]
    )
    columns["notes"] = pa.array([r.notes for r in rows], pa.string())
    for label in labels:
        columns[SCORE + label] = pa.array([r.scores.get(label) for r in rows], pa.float64())
    return pa.table(columns)


def field_array(name: str, values: Sequence[Any]) -> pa.Array:
    """Return Python field values (tuples of `Message`, numbers, ...) as an Arrow column."""
    type_ = FIELD_TYPES[name]
    if type_ == "messages":
        return _message_array(values)
    if type_ != "candidates":
        return pa.array(values, FIELDS[name])
    flat = [c for v in values for c in v or ()]
    struct = pa.StructArray.from_arrays(
        [
            _message_array([c.messages for c in flat]),
            pa.array([c.score for c in flat], pa.float64()),
            pa.array([c.model for c in flat], pa.string()),
            pa.array([c.extra for c in flat], pa.string()),
        ],
        fields=list(CANDIDATES.value_type),
    )
    return pa.ListArray.from_arrays(_offsets(values), struct)


def _message_array(values: Sequence[Any]) -> pa.ListArray:
    flat = [m for v in values for m in v or ()]
    columns = [pa.array([m[k] for m in flat], pa.string()) for k in range(3)]
    struct = pa.StructArray.from_arrays(columns, fields=list(MESSAGE))
    return pa.ListArray.from_arrays(_offsets(values), struct)


def _offsets(values: Sequence[Any]) -> pa.Array:
    """Return list offsets; a value of `None` (the field of another kind) becomes a null list."""
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(v) if v is not None else 0 for v in values], out=ends[1:])
    mask = np.array([v is None for v in values] + [False], bool)
    return pa.array(ends, pa.int32(), mask=mask) if mask.any() else pa.array(ends, pa.int32())


def sort_by_seq(table: pa.Table) -> pa.Table:
    """Return the rows in order; a table already in order is returned as it is."""
    if not table.num_rows:
        return table
    column = one_array(table.column("seq"))
    lengths = np.asarray(pc.list_value_length(column)).astype(np.int64)
    # Shorter ones are filled up with what comes before every number.
    matrix = np.full((len(column), int(lengths.max())), -1, np.int64)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix[np.repeat(np.arange(len(column)), lengths), within] = np.asarray(column.flatten())
    order = np.lexsort(matrix.T[::-1])
    if (order[1:] > order[:-1]).all():
        return table
    return table.take(pa.array(order))
