"""What the messages of an Arrow file unpack to, read from their heads before any is unpacked.

Buffers of a batch may be compressed, each with its own length before it.

Format: https://arrow.apache.org/docs/format/Columnar.html (Apache-2.0), heads in FlatBuffers.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"ARROW1"
_DICTIONARY, _BATCH = 2, 3
# How a batch was marked before its head had a field for that.
_MARKED = b"ARROW:experimental_compression"


class PackedBatch(NamedTuple):
    """Bytes of a batch's compressed buffers, as they stand and unpacked."""

    is_dictionary: bool
    packed: int
    unpacked: int


def messages_of(path: Path) -> Iterator[PackedBatch]:
    """Yield the batches of a file or a stream, those with dictionaries among them.

    Where a head cannot be read they end: Arrow refuses it there with its own words.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for at in _places(data):
                message = _message(data, at)
                if message is not None:
                    yield message
        except (struct.error, IndexError):
            return


def _places(data: mmap.mmap) -> Iterator[int]:
    """Yield where messages begin: as the footer says, or one behind the other."""
    if data[:6] == _MAGIC:
        footer = len(data) - 10 - _int(data, len(data) - 10)
        root = footer + _int(data, footer)
        for field in (2, 3):
            blocks = _pointed(data, root, field)
            for number in range(_int(data, blocks) if blocks else 0):
                yield struct.unpack_from("<q", data, blocks + 4 + 24 * number)[0]
        return
    at = 0
    while at < len(data):
        yield at
        start, length = _head(data, at)
        if not length:
            return
        body = _field(data, start + _int(data, start), 3)
        at = start + length + (struct.unpack_from("<q", data, body)[0] if body else 0)
        if at <= start:
            return


def _head(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return where a message's head begins, and its length; 0 where messages end."""
    length = _int(data, at)
    if length == -1:
        return at + 8, _int(data, at + 4)
    # As it was written before 2019.
    return at + 4, length


def _message(data: mmap.mmap, at: int) -> PackedBatch | None:
    start, length = _head(data, at)
    if length <= 0:
        return None
    root = start + _int(data, start)
    kind = _field(data, root, 1)
    batch = _pointed(data, root, 2)
    is_dictionary = bool(kind) and data[kind] == _DICTIONARY
    if is_dictionary:
        batch = _pointed(data, batch, 1)
    elif not kind or data[kind] != _BATCH:
        return None
    buffers = _pointed(data, batch, 2)
    if not buffers or not (_field(data, batch, 3) or _MARKED in data[start : start + length]):
        return PackedBatch(is_dictionary, 0, 0)
    packed = unpacked = 0
    for number in range(_int(data, buffers)):
        offset, size = struct.unpack_from("<qq", data, buffers + 4 + 16 * number)
        if size > 8:
            packed += size
            whole = struct.unpack_from("<q", data, start + length + offset)[0]
            unpacked += size if whole < 0 else whole
    return PackedBatch(is_dictionary, packed, unpacked)


def _int(data: mmap.mmap, at: int) -> int:
    return int(struct.unpack_from("<i", data, at)[0])


def _field(data: mmap.mmap, table: int, number: int) -> int:
    """Return where a field of a table lies, 0 where it has none."""
    layout = table - _int(data, table)
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", data, layout)[0]:
        return 0
    offset = struct.unpack_from("<H", data, layout + slot)[0]
    return table + int(offset) if offset else 0


def _pointed(data: mmap.mmap, table: int, number: int) -> int:
    """Return where lies what a field points to, 0 where it has none."""
    at = _field(data, table, number)
    return at + _int(data, at) if at else 0
