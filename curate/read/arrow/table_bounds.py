"""How much a table's file may unpack to: no file fills the memory, and none is read for hours.

A page of Parquet and a batch of Arrow are unpacked as a whole, and a row is held several times
while it is read. Large ones are read where the file is large, too: what is refused is a file that
says hardly anything and means gigabytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.errors import InputError
from curate.read.part import LINE_BYTES, PART_BYTES

# What is unpacked at once: so many bytes, or so many times what they were packed into. Texts
# become three to six times smaller, and a table of one text over and over, hundreds of times.
_AT_ONCE_BYTES = 2 * PART_BYTES
_AT_ONCE_TIMES = 32
# All rows of a file: so many bytes, or so many times those of the file. A row counts at least 1 KB.
_FILE_BYTES = 1 << 30
_FILE_TIMES = 1000
_ROW_BYTES = 1 << 10
# Values of lists: so many in a row group, or so many for each byte that holds them.
_VALUES = 16 << 20
_VALUES_A_BYTE = 8


def check_at_once(where: str, packed: int, unpacked: int, mend: str) -> None:
    """Check what is unpacked at once.

    Raises:
        InputError: it is a bomb; `where` says what it is and `mend` how to write it.
    """
    if unpacked > max(_AT_ONCE_BYTES, _AT_ONCE_TIMES * packed):
        raise InputError(
            f"{where} unpacks {packed:,} bytes to {unpacked >> 20:,} MB at once; at most "
            f"{_AT_ONCE_BYTES >> 20} MB may be, or {_AT_ONCE_TIMES} times what is packed; {mend}"
        )


def check_values(where: str, packed: int, values: int) -> None:
    """Check the number of values in the lists of a row group.

    Raises:
        InputError: they are far more than its bytes can hold.
    """
    if values > max(_VALUES, _VALUES_A_BYTE * packed):
        raise InputError(
            f"{where} holds {values:,} values in lists in {packed:,} bytes; at most "
            f"{_VALUES:,} may be, or {_VALUES_A_BYTE} for each byte; write smaller row groups, or "
            "leave the column out"
        )


class FileBound:
    """What the rows of a file have taken so far, and whether that is too much for its size."""

    def __init__(self, path: Path) -> None:
        """Begin a file, of which nothing is read yet."""
        self._path, self._size = path, path.stat().st_size
        self._read, self._rows = 0.0, 0

    def add_rows(self, count: int) -> None:
        """Count rows that are about to be read.

        Raises:
            InputError: they are too many.
        """
        self._rows += count
        self._check(self._rows * _ROW_BYTES, f"{self._rows:,} rows")

    def add_bytes(self, sizes: np.ndarray) -> None:
        """Count rows by what each takes in bytes (float64).

        Raises:
            InputError: one is larger than a row may be, or all are too much.
        """
        large = np.flatnonzero(sizes > LINE_BYTES)
        if len(large):
            raise InputError(
                f"{self._path}: a row takes {int(sizes[large[0]]) >> 20:,} MB once its texts are "
                f"read, and a row may have {LINE_BYTES >> 20} MB; split its values into several "
                "rows"
            )
        self._read += float(sizes.sum())
        self._check(self._read, "rows that name the same texts over and over")

    def _check(self, taken: float, what: str) -> None:
        if taken > max(_FILE_BYTES, _FILE_TIMES * self._size):
            raise InputError(
                f"{self._path}: its {self._size:,} bytes stand for {what}, more than "
                f"{int(taken) >> 20:,} MB; at most {_FILE_BYTES >> 20:,} MB may be, or "
                f"{_FILE_TIMES:,} times its size; write the rows as JSON lines"
            )
