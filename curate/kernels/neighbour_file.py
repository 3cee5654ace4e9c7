"""Neighbours that outlast a run: a file named by the vectors and the floor that they were found at.

The name is a hash of everything that decides the content, so a file is right or absent, and one
that cannot be read counts as absent. It costs 24 bytes a pair on disk.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import xxhash

from curate.kernels.cosine_join import Neighbours
from curate.kernels.directions import LANES, Directions

_VERSION = 1
_ARRAYS = ("lines", "starts", "others", "cosines")


def neighbour_file(folder: Path, own: Directions, *found_by: object) -> Path:
    """Return where the neighbours of vectors lie; `found_by` is what else decides them."""
    content = xxhash.xxh3_128(repr((_VERSION, LANES, own.vectors.shape, *found_by)).encode())
    content.update(own.vectors.data if len(own) else b"")
    return folder / f"{content.hexdigest()}.npz"


def load_neighbours(path: Path) -> Neighbours | None:
    """Return the neighbours in a file, or `None` where there are none that can be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Neighbours(*(arrays[name] for name in _ARRAYS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save_neighbours(path: Path, found: Neighbours) -> None:
    """Write neighbours; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            np.savez(out, **{name: getattr(found, name) for name in _ARRAYS})
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
