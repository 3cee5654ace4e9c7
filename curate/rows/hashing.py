"""The content hashes of whole columns: `row.canonical_bytes` built by Arrow, hashed row by row.

One path serves ten rows and ten million, so ids need no compiled twin: Arrow joins the lengths and
texts of all rows (without the interpreter lock), and XXH3-128 takes about 0.3 microseconds a row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import Chunk, same_lists
from curate.row import FIELD_TYPES, KINDS, digest


def content_digests(table: pa.Table) -> list[bytes]:
    """Return each row's 128-bit content hash, equal to `digest(canonical_bytes(kind, fields))`."""
    chunk, out = Chunk(table), [b""] * table.num_rows
    for kind in chunk.kinds:
        part, where = chunk, None
        if len(chunk.kinds) > 1:
            where = np.flatnonzero(np.asarray(pc.equal(chunk.column("kind"), kind)))
            part = Chunk(table.take(pa.array(where)))
        first, *others = KINDS[kind]  # messages come first in all of them
        joined = _messages_bytes(part.column(first), kind.encode() + b"\0")
        if others:
            pieces = [_FIELD_BYTES[FIELD_TYPES[name]](part.column(name)) for name in others]
            joined = _joined(joined, *pieces)
        _, offsets_buffer, data = joined.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int32)[
            joined.offset : joined.offset + len(joined) + 1
        ].tolist()
        hashes = digests_between(offsets, memoryview(b"") if data is None else memoryview(data))
        if where is None:
            return hashes
        for index, value in zip(where, hashes, strict=True):
            out[index] = value
    return out


def digests_between(offsets: list[int], data: memoryview) -> list[bytes]:
    """Return the digest of the bytes between each two neighbours of `offsets`."""
    # Nested maps, not a loop: no Python is run per row, which is three times as fast.
    return list(map(digest, map(data.__getitem__, map(slice, offsets, offsets[1:]))))


def _joined(*pieces: pa.Array) -> pa.Array:
    """Return the bytes of each row's pieces behind one another."""
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary()))


def _fixed(values: np.ndarray) -> pa.Array:
    """Return 8-byte numbers as binary values of 8 bytes."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pc.cast(
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(values), [None, data]), pa.binary()
    )


def _text_pieces(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the length of each text, -1 for none, and its bytes."""
    binary = pc.cast(texts, pa.binary())
    lengths = np.asarray(pc.fill_null(pc.binary_length(binary), -1)).astype(np.int64)
    return _fixed(lengths), pc.fill_null(binary, b"")


def _messages_bytes(messages: pa.ListArray, head: bytes = b"") -> pa.Array:
    """Return `head`, the number of turns, and each turn's role, content and parts."""
    counts = np.asarray(pc.fill_null(pc.list_value_length(messages), 0)).astype(np.int64)
    flat = messages.flatten()
    pieces = [x for name in ("role", "content", "parts") for x in _text_pieces(flat.field(name))]
    heads = _joined(pa.scalar(head, pa.binary()), _fixed(counts))
    if not len(flat) or not counts.all():
        return _joined(heads, pc.binary_join(same_lists(messages, _joined(*pieces)), b""))
    # Before each first turn stands what begins its row: the turns' bytes are then the rows' bytes,
    # one behind the other, and need not be copied again.
    firsts = np.cumsum(counts) - counts
    at = np.full(len(flat), -1, np.int64)
    at[firsts] = np.arange(len(counts))
    begun = pc.fill_null(heads.take(pa.array(at, mask=at < 0)), b"")
    turns = _joined(begun, *pieces)
    ends = np.frombuffer(turns.buffers()[1], np.int32)[turns.offset :]
    offsets = pa.py_buffer(np.append(ends[firsts], ends[len(turns)]).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(counts), [None, offsets, turns.buffers()[2]])


def _number_bytes(numbers: pa.Array) -> pa.Array:
    missing = numbers.is_null()
    bits = np.asarray(pc.fill_null(numbers, 0.0)).astype(np.float64).view(np.int64).copy()
    bits[np.asarray(missing)] = -1
    flag = pc.if_else(missing, pa.scalar(b"\0", pa.binary()), pa.scalar(b"\1", pa.binary()))
    return _joined(_fixed(bits), flag)


def _flag_bytes(flags: pa.Array) -> pa.Array:
    yes, no, none = (pa.scalar(b, pa.binary()) for b in (b"\1", b"\0", b"\2"))
    return pc.fill_null(pc.if_else(flags, yes, no), none)


def _candidates_bytes(candidates: pa.ListArray) -> pa.Array:
    flat = candidates.flatten()
    parts = [
        _messages_bytes(flat.field("messages")),
        _number_bytes(flat.field("score")),
        _joined(*_text_pieces(flat.field("model"))),
    ]
    lists = same_lists(candidates, _joined(*parts))
    counts = np.asarray(pc.list_value_length(lists)).astype(np.int64)
    return _joined(_fixed(counts), pc.binary_join(lists, b""))


_FIELD_BYTES: dict[str, Callable[[pa.Array], pa.Array]] = {
    "messages": _messages_bytes,
    "number": _number_bytes,
    "flag": _flag_bytes,
    "candidates": _candidates_bytes,
}
