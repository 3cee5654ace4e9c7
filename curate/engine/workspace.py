"""The scratch folder of one execution: tables between segments, as memory-mapped Arrow files.

Nothing here survives a run or is trusted by the next one: replies are the only memory. A killed
run leaves its folder behind, and the next run deletes it first.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

Held: TypeAlias = "pa.Table | Path"


class Workspace:
    """A folder for tables that wait for a later segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def open(self) -> None:
        """Start empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def spill(self, table: pa.Table) -> Path:
        """Write a table away and return its path."""
        path = self.folder / f"{os.getpid()}-{next(self._numbers)}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return path


def load(held: Held) -> pa.Table:
    """Return a held table; a file is mapped, not read."""
    if isinstance(held, pa.Table):
        return held
    with pa.memory_map(str(held)) as source:
        return pa.ipc.open_file(source).read_all()


def release(held: Held | None) -> None:
    """Delete a held file that no later segment reads."""
    if isinstance(held, Path):
        held.unlink(missing_ok=True)
