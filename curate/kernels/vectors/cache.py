"""What a search among vectors found, kept for the next run in a file.

The file's name is a hash of the vectors and of all else that decides its content, so a file is
right or absent, and one that cannot be read counts as absent. Neighbours cost 24 bytes a
pair.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xxhash

from curate.kernels.vectors.unit_vectors import LANES, UnitVectors

_VERSION = 1


def derived_file(folder: Path | None, vectors: UnitVectors, *found_by: object) -> Path | None:
    """Return where what was found by `found_by` among vectors lies, or `None` without a folder."""
    if folder is None:
        return None
    told = repr((_VERSION, LANES, vectors.vectors.shape, *found_by))
    content = xxhash.xxh3_128(told.encode())
    content.update(vectors.vectors.data if len(vectors) else b"")
    return folder / f"{content.hexdigest()}.npz"


def derived(
    path: Path | None, find: Callable[[], Sequence[np.ndarray] | None]
) -> Sequence[np.ndarray] | None:
    """Return the arrays in the file `path`, or those that `find` finds; the file then has them."""
    found = _load(path)
    if found is None:
        found = find()
        if found is not None and path is not None:
            _save(path, found)
    return found


def _load(path: Path | None) -> Sequence[np.ndarray] | None:
    try:
        if path is None:
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            np.savez(out, *arrays)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
