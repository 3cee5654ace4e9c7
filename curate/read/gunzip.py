"""Read gzip files up to the very byte where they break off.

The library's own reader throws away what it had unpacked before a break, and so would lose rows.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

_PACKED = 1 << 18


class Gunzip:
    """A gzip file of any number of members, unpacked a bounded piece at a time."""

    def __init__(self, path: Path) -> None:
        """Open `path`; bytes that are no gzip show when they are read."""
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._packed = b""
        self._begin()

    def _begin(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._inside = False

    def read(self, size: int) -> bytes:
        """Return up to `size` unpacked bytes, none at the end; raise where the file breaks off."""
        while self._packed or self._more():
            if not self._inside:
                # Zeros between members are padding.
                self._packed = self._packed.lstrip(b"\0")
                if not self._packed:
                    continue
                self._inside = True
            data = self._inflate.decompress(self._packed, size)
            self._packed = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._packed = self._inflate.unused_data
                self._begin()
            if data:
                return data
        return self._rest(size)

    def _more(self) -> bool:
        self._packed = self._file.read(_PACKED)
        return bool(self._packed)

    def _rest(self, size: int) -> bytes:
        """Return what is still unpacked when the file has ended; a whole member leaves nothing."""
        if not self._inside:
            return b""
        data = self._inflate.decompress(b"", size)
        if not data and not self._inflate.eof:
            raise EOFError("the compressed data ends before its end mark")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Gunzip:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
