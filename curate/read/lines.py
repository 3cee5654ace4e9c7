"""Cut JSONL files into parts: byte ranges where a file can be read again, else the bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from curate.read.part import LINE_BYTES, PART_BYTES, PART_ROWS

_BLOCK = 4 << 20
BOM = b"\xef\xbb\xbf"


class Cut(NamedTuple):
    """A range of lines: where it starts, its length, its bytes (streams), and why it breaks off."""

    offset: int
    length: int
    data: bytes | None = None
    broken: str | None = None


def cut_file(path: Path) -> Iterator[Cut]:
    """Yield the ranges of a plain file; only newlines are looked at."""
    with open(path, "rb") as file:
        start = base = lines = 0
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
            at = 0
            while at < len(ends):
                # The part ends at its last row, or at the first line that passes its bytes.
                row = at + PART_ROWS - lines
                full = int(np.searchsorted(ends[at:], start + PART_BYTES - base)) + at + 1
                stop = min(row, full)
                if stop > len(ends):
                    break
                end = base + int(ends[stop - 1])
                yield Cut(start, end - start)
                start, lines, at = end, 0, stop
            lines += len(ends) - at
            base += len(block)
        if base > start:
            yield Cut(start, base - start)


def cut_stream(stream: BinaryIO) -> Iterator[Cut]:
    """Yield the ranges of a stream with their bytes; memory is bounded by a part and a line."""
    pending, lines, broken = bytearray(), 0, None
    skipping = False
    while True:
        try:
            block = stream.read(1 << 20)
        except (EOFError, OSError, zlib.error) as error:
            block, broken = b"", f"the file breaks off here: {' '.join(str(error).split())}"
        if not block:
            break
        if skipping:
            # The rest of an overlong line: what was kept of it already says that it is too long.
            at = block.find(b"\n")
            if at < 0:
                continue
            block, skipping = block[at:], False
        pending += block
        lines += block.count(b"\n")
        while lines >= PART_ROWS or (len(pending) >= PART_BYTES and lines):
            end = _end_of_part(pending)
            data = bytes(pending[:end])
            del pending[:end]
            lines -= data.count(b"\n")
            yield Cut(0, len(data), data)
        if not lines and len(pending) > LINE_BYTES + 1:
            del pending[LINE_BYTES + 1 :]
            skipping = True
    if pending or broken:
        yield Cut(0, len(pending), bytes(pending), broken)


def _end_of_part(data: bytearray) -> int:
    """Return where the first part of `data` ends: after 16,384 lines, or 64 MB."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    full = int(np.searchsorted(ends, PART_BYTES)) + 1
    return int(ends[min(PART_ROWS, full, len(ends)) - 1])


def open_stream(path: Path) -> BinaryIO:
    """Open a compressed file for reading."""
    if path.suffix == ".zst":
        import pyarrow as pa

        return cast(BinaryIO, pa.input_stream(str(path), compression="zstd"))
    return cast(BinaryIO, gzip.open(path, "rb"))
