"""What the selections take: arguments are looked at here, and errors say what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.vectors.unit_vectors import UnitVectors


def directions_of(vectors: Any) -> UnitVectors:
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


def lines_of(chosen: Any, directions: UnitVectors) -> list[int]:
    """Return chosen lines, if they are lines with a direction."""
    lines = np.asarray(chosen, np.int64)
    if lines.ndim != 1 or (len(lines) and not 0 <= lines.min() <= lines.max() < len(directions)):
        raise ValueError(f"chosen must be lines from 0 to {len(directions) - 1}, found {chosen}")
    if (directions.lengths[lines] == 0).any():
        raise ValueError("chosen names a row of zeros, which is near nothing")
    return [int(line) for line in lines]
