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

from curate.errors import InputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# Kinds of pages; of those with values the field that is about them, and in it the encoding's.
_DICTIONARY = 2
_ABOUT = {0: (5, 2), 3: (8, 4)}
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


class _Page(NamedTuple):
    """A page as its header states it; `at` is where what it holds begins.

    `values` are those of a data page, `named` those of them that a dictionary names, and `entries`
    those of a dictionary.
    """

    at: int
    packed: int
    unpacked: int
    values: int
    named: int
    entries: int | None


def columns_of(path: Path, metadata: pq.FileMetaData) -> list[list[Column]]:
    """Return the columns of each row group of a file.

    Raises:
        InputError: the header of a page that Arrow would read cannot be read here, so that nobody
            knows what the page unpacks to.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        return [
            [_column(path, data, group.column(number)) for number in range(group.num_columns)]
            for group in groups
        ]


def _column(path: Path, data: mmap.mmap, chunk: Any) -> Column:
    packed = unpacked = largest = named = values = longest = 0
    for page in _pages(path, data, chunk):
        packed, unpacked = packed + page.packed, unpacked + page.unpacked
        largest = max(largest, page.unpacked)
        if page.entries is not None:
            held = data[page.at : page.at + page.packed]
            longest = _longest(held, page.unpacked, chunk, page.entries)
        values, named = values + page.values, named + page.named
    return Column(
        chunk.path_in_schema,
        max(values, chunk.num_values),
        packed,
        max(unpacked, chunk.total_uncompressed_size),
        largest,
        named * longest,
        chunk.physical_type == "BYTE_ARRAY",
    )


def _pages(path: Path, data: mmap.mmap, chunk: Any) -> Iterator[_Page]:
    """Yield the pages of a column until all its values are there, which is where Arrow stops."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = min(len(data), at + chunk.total_compressed_size)
    values = 0
    while 0 <= at < end and values < chunk.num_values:
        try:
            page = _page(*_struct(data, at, 0))
        except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: not a readable Parquet file: the header of a page of the column "
                f"'{chunk.path_in_schema}', at byte {at:,}, cannot be read "
                f"({type(error).__name__}); write the file again"
            ) from None
        yield page
        at, values = page.at + page.packed, values + page.values


def _page(header: dict[int, Any], at: int) -> _Page:
    """Return a page as its header states it.

    Raises:
        KeyError, TypeError, ValueError: a field is missing, or is not what it must be.
    """
    kind, unpacked, packed = (_count(header[number]) for number in (1, 2, 3))
    if kind == _DICTIONARY:
        return _Page(at, packed, unpacked, 0, 0, _count(header[7][1]))
    if kind not in _ABOUT:
        return _Page(at, packed, unpacked, 0, 0, None)
    about, encoding = _ABOUT[kind]
    values = _count(header[about][1])
    named = values if _count(header[about][encoding]) in _BY_DICTIONARY else 0
    return _Page(at, packed, unpacked, values, named, None)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    if value < 0:
        raise ValueError
    return value


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
    if kind in (_LIST, _SET, _MAP):
        raise KeyError("no header holds a list or a map")
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
