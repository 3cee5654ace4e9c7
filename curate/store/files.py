"""The files of a store's folder, and how many bytes they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from curate.chunk import DERIVED

LOCK = "in_use"


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes that each part of the store in `folder` takes."""
    found = Counter[str]()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).parts[0]
        if path.is_file() and path.name != LOCK:
            found["database" if name.startswith("store.db") else name] += path.stat().st_size
    return dict(found)


def neighbour_files(folder: Path) -> Iterator[Path]:
    """Yield the files of neighbours in the store in `folder`."""
    return (folder / DERIVED).glob("*.npz")
