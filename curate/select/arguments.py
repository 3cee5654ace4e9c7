"""What the selections take: arguments are looked at here, and errors say what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.vectors.unit_vectors import UnitVectors


def unit_vectors_of(vectors: Any) -> UnitVectors:
    """Return vectors measured, or what was measured before."""
    if isinstance(vectors, UnitVectors):
        return vectors
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"vectors must be numbers, found {array.dtype}")
    return UnitVectors.of(array)


def count_of(count: int) -> int:
    """Return a count, if it is one."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise ValueError(f"count is a whole number of at least 0, not {count!r}")
    return int(count)


def numbers_of(values: Any, size: int, name: str) -> np.ndarray:
    """Return finite numbers, one for each row."""
    array = np.asarray(values, np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} has the shape {array.shape}, not ({size},)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} of row {int(np.argmin(np.isfinite(array)))} is not finite")
    return array


def chosen_rows(chosen: Any, every: UnitVectors) -> list[int]:
    """Return chosen rows, if they are rows with a direction."""
    rows = np.asarray(chosen, np.int64)
    if rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < len(every)):
        raise ValueError(f"chosen must be rows from 0 to {len(every) - 1}, found {chosen}")
    if (every.lengths[rows] == 0).any():
        raise ValueError("chosen names a row of zeros, which is near nothing")
    return [int(row) for row in rows]
