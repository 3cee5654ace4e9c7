"""What the pages of a Parquet file unpack to, read from their headers before any is unpacked.

A page is unpacked as a whole, and one of a hundred kilobytes can hold gigabytes; a value that
stands once in a dictionary can be named by a million rows. The metadata at a file's end says
neither, and nothing checks it against the pages.

Format: https://github.com/apache/parquet-format (Apache-2.0), headers in Thrift's compact protocol.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# Of pages.
_DICTIONARY = 2
# Encodings by which values name those of the dictionary.
_BY_DICTIONARY = (2, 8)
# Types of the fields of a header.
_STOP, _TRUE, _FALSE, _BYTE = range(4)
_DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(7, 13)
_DEEPEST = 16


class Column(NamedTuple):
    """What the pages of a column of one row group hold.

    `packed` and `unpacked` are bytes of all pages, `largest` those of the largest one unpacked, and
    `named` at most what the values take that a dictionary names; `texts` is whether they are read
    as such, so that they can stay in it.
    """

    path: str
    values: int
    packed: int
    unpacked: int
    largest: int
    named: int
    texts: bool


def columns_of(path: Path, metadata: pq.FileMetaData) -> list[list[Column]]:
    """Return the columns of each row group of a file.

    Where a header cannot be read the column ends: Arrow refuses it there with its own words.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        return [
            [_column(data, group.column(number)) for number in range(group.num_columns)]
            for group in groups
        ]


def _column(data: mmap.mmap, chunk: Any) -> Column:
    packed = unpacked = largest = names = values = longest = 0
    for header, at in _pages(data, chunk):
        size, length = header[2], header[3]
        packed, unpacked, largest = packed + length, unpacked + size, max(largest, size)
        if header[1] == _DICTIONARY:
            page = data[at : at + length]
            longest = _longest(page, size, chunk, header.get(7, {}).get(1, 1))
        else:
            # The number of values and their encoding, in both versions of the header.
            about = header.get(5) or header.get(8) or {}
            encoding = about.get(2 if 5 in header else 4)
            values += about.get(1, 0)
            names += about.get(1, 0) if encoding in _BY_DICTIONARY else 0
    return Column(
        chunk.path_in_schema,
        max(values, chunk.num_values),
        packed,
        max(unpacked, chunk.total_uncompressed_size),
        largest,
        names * longest,
        chunk.physical_type == "BYTE_ARRAY",
    )


def _pages(data: mmap.mmap, chunk: Any) -> Iterator[tuple[dict[int, Any], int]]:
    """Yield the headers of a column's pages, and where what each holds begins."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = min(len(data), at + chunk.total_compressed_size)
    while 0 <= at < end:
        try:
            header, at = _struct(data, at, 0)
            if not all(isinstance(header[n], int) and header[n] >= 0 for n in (1, 2, 3)):
                return
        except (IndexError, KeyError, RecursionError):
            return
        yield header, at
        at += header[3]


def _longest(page: bytes, size: int, chunk: Any, count: int) -> int:
    """Return the bytes of the longest value of a dictionary's page, or more."""
    import pyarrow as pa

    if chunk.physical_type != "BYTE_ARRAY":
        return size // max(1, count)
    codec = chunk.compression.lower()
    try:
        if codec != "uncompressed":
            # Of the two kinds of LZ4 that a file may mean, this is the one in use.
            codec = "lz4_raw" if codec == "lz4" else codec
            page = pa.Codec(codec).decompress(page, size, asbytes=True)
    except (OSError, ValueError):
        return size
    at = longest = 0
    while at + 4 <= len(page):
        length = int.from_bytes(page[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return min(longest, size)


# -- Thrift's compact protocol --------------------------------------------------------------------


def _struct(data: mmap.mmap, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by their numbers, and where it ends."""
    if depth > _DEEPEST:
        raise RecursionError
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) & 0x0F != _STOP:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        fields[number], at = _value(data, at, head & 0x0F, depth)
    return fields, at + 1


def _value(data: mmap.mmap, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """Return a number or a struct, None for what no header here needs, and where it ends."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTE, _DOUBLE):
        return None, at + (1 if kind == _BYTE else 8)
    if kind == _BINARY:
        length, at = _varint(data, at)
        return None, at + length
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind == _MAP:
        raise KeyError("no header holds a map")
    if kind in (_LIST, _SET):
        head, at = data[at], at + 1
        count = head >> 4
        if count == 15:
            count, at = _varint(data, at)
        for _ in range(count):
            # A flag in a list takes a byte.
            item = head & 0x0F
            at = at + 1 if item in (_TRUE, _FALSE) else _value(data, at, item, depth + 1)[1]
        return None, at
    return _signed(data, at)


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number, at, shift = number | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise IndexError("a number of over 64 bits")


def _signed(data: mmap.mmap, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return number >> 1 ^ -(number & 1), at
