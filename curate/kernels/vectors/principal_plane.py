"""The plane of a map: the two main axes of vectors (PCA), block by block in float64."""

from __future__ import annotations

import numpy as np

_BLOCK = 8192


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """Return each vector's place on the two main axes of all, 2 numbers a row.

    An axis has no direction of its own: its largest loading points to the right, or up.
    """
    count, width = vectors.shape
    mean, scatter = np.zeros(width), np.zeros((width, width))
    for start in range(0, count, _BLOCK):
        mean += vectors[start : start + _BLOCK].astype(np.float64).sum(axis=0) / count
    for start in range(0, count, _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64) - mean
        scatter += block.T @ block
    axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    places = np.zeros((count, 2))
    for start in range(0, count, _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64) - mean
        places[start : start + _BLOCK, : axes.shape[1]] = block @ axes
    return places


def in_unit_square(places: np.ndarray) -> np.ndarray:
    """Return places moved and scaled into the square from 0 to 1, both axes alike."""
    if not len(places):
        return places
    low, high = places.min(axis=0), places.max(axis=0)
    size = (high - low).max()
    if not size:
        return np.full_like(places, 0.5)
    found: np.ndarray = np.clip(0.5 + (places - (low + high) / 2) / size, 0.0, 1.0)
    return found
