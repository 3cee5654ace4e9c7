"""Read packed files up to the very byte where they break off: gzip, xz, bzip2 and zstd.

The libraries' own readers throw away what they had unpacked before a break, and so would lose rows.
"""

from __future__ import annotations

import bz2
import functools
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

_PIECE = 1 << 18
# How packed files are called, and how they begin.
MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ\x00": ".xz", b"BZh": ".bz2"}
# What a broken file may raise while it is read.
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)


def open_packed(path: Path, packing: str) -> BinaryIO:
    """Open a file that is packed as `packing` says (an ending, or an empty text) for reading."""
    if not packing:
        return open(path, "rb")
    if packing == ".zst":
        import pyarrow as pa

        return cast(BinaryIO, pa.input_stream(str(path), compression="zstd"))
    return cast(BinaryIO, Unpacked(path, packing))


# What unpacks one member of a file.
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": functools.partial(zlib.decompressobj, zlib.MAX_WBITS | 16),
    ".xz": lzma.LZMADecompressor,
    ".bz2": bz2.BZ2Decompressor,
}


class Unpacked(io.RawIOBase):
    """A packed file of any number of members, unpacked a bounded piece at a time."""

    def __init__(self, path: Path, packing: str) -> None:
        """Open `path`; bytes that are not packed so show when they are read."""
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._packing = packing
        self._packed = b""
        self._member: Any = None

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with unpacked bytes, none at the end; raise where the file breaks off."""
        while True:
            if self._member is None:
                # Zeros between members are padding.
                self._packed = self._packed.lstrip(b"\0") or self._file.read(_PIECE).lstrip(b"\0")
                if not self._packed:
                    return 0
                self._member = _DECOMPRESSORS[self._packing]()
            packed, self._packed = self._packed, b""
            data: bytes = self._member.decompress(packed, len(buffer))
            if self._member.eof:
                self._packed, self._member = self._member.unused_data, None
            else:
                self._packed = getattr(self._member, "unconsumed_tail", b"")
            if data:
                buffer[: len(data)] = data
                return len(data)
            if self._member is not None and not self._packed:
                self._packed = self._file.read(_PIECE)
                if not self._packed:
                    raise EOFError("the compressed data ends before its end mark")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
