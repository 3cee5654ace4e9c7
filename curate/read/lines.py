"""Cut JSONL files into parts: byte ranges where a file can be read again, else the bytes.

A part holds the lines that fit into 16,384 rows and 64 MB, and at least one: so a line too long to
be held is always alone in its part, and takes no other row with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from curate.read.packed import BROKEN
from curate.read.part import LINE_BYTES, PART_BYTES, PART_ROWS, RAW_BYTES

_BLOCK = 4 << 20
_SMALL = 1 << 20
BOM = b"\xef\xbb\xbf"


class Cut(NamedTuple):
    """A range of lines: where it starts, its length, its bytes (streams), and why it breaks off.

    A line that is too long to be held has its first bytes in `head`.
    """

    offset: int
    length: int
    data: bytes | None = None
    broken: str | None = None
    head: bytes | None = None


def cut_file(path: Path) -> Iterator[Cut]:
    """Yield the ranges of a plain file; only newlines are looked at."""
    with open(path, "rb") as file:
        start = base = 0
        ends = np.zeros(0, np.int64)
        while block := file.read(_BLOCK):
            ends = np.concatenate([ends, _line_ends(block) + base])
            base += len(block)
            while count := _full(ends, start):
                end = int(ends[count - 1])
                yield _range(path, start, end)
                start, ends = end, ends[count:]
        for end in _last_ends(ends, start, base):
            yield _range(path, start, end)
            start = end


def _line_ends(data: bytes | bytearray) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1


def _fitting(ends: np.ndarray, start: int) -> int:
    """Return how many lines make a part: those that fit, and at least one."""
    fits = int(np.searchsorted(ends, start + PART_BYTES, side="right"))
    return max(1, min(PART_ROWS, fits))


def _full(ends: np.ndarray, start: int) -> int:
    """Return how many lines make a part, or 0 while more lines may fit."""
    if len(ends) >= PART_ROWS or (len(ends) and ends[-1] - start > PART_BYTES):
        return _fitting(ends, start)
    return 0


def _last_ends(ends: np.ndarray, start: int, size: int) -> Iterator[int]:
    """Yield where the last parts end; a last line without a newline may still not fit into one."""
    if not len(ends) or ends[-1] < size:
        ends = np.append(ends, size)
    while start < size:
        count = _fitting(ends, start)
        start, ends = int(ends[count - 1]), ends[count:]
        yield start


def _range(path: Path, start: int, end: int) -> Cut:
    if _is_held(end - start):
        return Cut(start, end - start)
    with open(path, "rb") as file:
        file.seek(start)
        return Cut(start, end - start, head=file.read(RAW_BYTES))


def cut_stream(stream: BinaryIO) -> Iterator[Cut]:
    """Yield the ranges of a stream with their bytes; memory is bounded by a part and a line."""
    pending, ends, broken = bytearray(), np.zeros(0, np.int64), None
    for block in _blocks(stream):
        if isinstance(block, str):
            broken = block
            break
        ends = np.concatenate([ends, _line_ends(block) + len(pending)])
        pending += block
        while count := _full(ends, 0):
            end = int(ends[count - 1])
            cut = _held(pending, 0, end)
            del pending[:end]
            ends = ends[count:] - end
            yield cut
    start, cuts = 0, []
    for end in _last_ends(ends, 0, len(pending)):
        cuts.append(_held(pending, start, end))
        start = end
    if broken:
        last = cuts.pop() if cuts and not pending.endswith(b"\n") else Cut(0, 0, b"")
        cuts.append(last._replace(broken=broken))
    yield from cuts


def _held(pending: bytearray, start: int, end: int) -> Cut:
    """Return a range of what was read: one copy of it, or of a line that is too long its head."""
    with memoryview(pending) as view:
        if _is_held(end - start):
            return Cut(0, end - start, bytes(view[start:end]))
        return Cut(0, end - start, head=bytes(view[start : start + RAW_BYTES]))


def _is_held(length: int) -> bool:
    """Tell whether so many bytes are several lines, or one that may be read."""
    return length <= max(LINE_BYTES, PART_BYTES)


def _blocks(stream: BinaryIO) -> Iterator[bytes | str]:
    """Yield a stream's bytes, each line cut off where it is too long; a text says why it broke."""
    run = 0
    while True:
        try:
            block = stream.read(_SMALL)
        except BROKEN as error:
            yield f"the file breaks off here: {' '.join(str(error).split())}"
            return
        if not block:
            return
        newline = block.find(b"\n")
        if newline < 0 and run > LINE_BYTES:
            continue
        if newline >= 0 and run > LINE_BYTES:
            block = block[newline:]
        last = block.rfind(b"\n")
        run = run + len(block) if last < 0 else len(block) - last - 1
        yield block
