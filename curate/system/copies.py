"""Folders for copies of what lies elsewhere, which are deleted when this process ends.

What is written into one is lost, so whoever keeps something beside its data looks here first.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_folders: list[Path] = []


def folder_of_copies(what: str) -> Path:
    """Return a new folder below `TMPDIR`, which nobody else may read."""
    folder = Path(tempfile.mkdtemp(prefix=f"curate-{what}-"))
    _folders.append(folder)
    return folder


def is_copy(path: str | Path) -> bool:
    """Tell whether a path lies in such a folder."""
    return any(Path(path).is_relative_to(folder) for folder in _folders)


@atexit.register
def delete_copies() -> None:
    """Delete the folders; for who ends the process in another way than by its end."""
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
