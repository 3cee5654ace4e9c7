"""Give back what the files of a store take.

Whatever is deleted here comes back by running a recipe again: neighbours by a search, vectors by
asking their encoder, which may cost money. A run holds the store while it lasts, and nothing is
deleted meanwhile: it knows vectors by their places in files.
"""

from __future__ import annotations

from pathlib import Path

from curate.errors import UsageError
from curate.store.files import DERIVED, neighbour_files
from curate.store.store import Store


def free_drafts(folder: Path) -> None:
    """Delete the files that killed processes did not finish. Hold the store `alone`."""
    for path in (folder / DERIVED).glob("*.tmp"):
        path.unlink(missing_ok=True)


def free_neighbours(folder: Path) -> int:
    """Delete all files of neighbours and return how many. Hold the store `alone`."""
    files = list(neighbour_files(folder))
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def free_vectors(store: Store, beginning: str) -> tuple[str, int]:
    """Delete the vectors of the one encoder whose name begins so; return its name, and how many.

    Hold the store `alone`.
    """
    rooms = store.vectors.by_encoder()
    names = sorted({room.encoder for room in rooms})
    found = [name for name in names if name == beginning]
    found = found or [name for name in names if name.startswith(beginning)]
    if len(found) != 1:
        said = "several encoders begin" if found else "no encoder in the store begins"
        raise UsageError(
            f"{said} with {beginning!r}; give one of: {'; '.join(names) or '(there are none)'}"
        )
    for path in store.commit_now(lambda connection: store.vectors.forget(connection, found[0])):
        path.unlink(missing_ok=True)
    return found[0], sum(room.vectors for room in rooms if room.encoder == found[0])
