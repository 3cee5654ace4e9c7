"""Greedy MAP inference of a determinantal point process, by an incremental Cholesky factor.

Chen, Zhang and Zhou 2018, arXiv 1709.05135, algorithm 1: of the matrix L = diag(q) S diag(q), S
being the cosines, the row is added whose determinant grows most. All in float64, sums in a fixed
order. It costs 8 bytes a row for every choice; the rank of S, at most the number of dimensions,
bounds the choices.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.kernels.vectors.unit_vectors import LANES, UnitVectors, cosine_of

# What is left of a row's squared length, relative to its own, when it adds nothing: the stopping
# threshold of Chen et al. 2018, 1709.05135 (their implementation: 1e-10), here per row.
EPSILON = 1e-10


def greedy_determinant(every: UnitVectors, quality: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` rows in the order of choice; the first one on a tie."""
    size, width = every.vectors.shape
    count = min(count, size, width)
    factor = np.empty((count, size))
    left = np.where(every.lengths > 0, quality * quality, 0.0)
    least = EPSILON * left
    chosen: list[int] = []
    while len(chosen) < count:
        able = np.where(left > least, left, -np.inf)
        row = int(np.argmax(able))
        if able[row] == -np.inf:
            break
        _extend(every.vectors, every.lengths, quality, row, factor, len(chosen), left)
        chosen.append(row)
        left[row] = -np.inf
    return np.array(chosen, np.int64)


@njit(nogil=True, cache=True)
def _extend(
    vectors: np.ndarray,
    lengths: np.ndarray,
    quality: np.ndarray,
    new: int,
    factor: np.ndarray,
    count: int,
    left: np.ndarray,
) -> None:
    """Write the next row of the factor, and take it from what is left of every row."""
    lanes = np.empty(LANES)
    row = factor[count]
    for other in range(len(vectors)):
        if lengths[other] == 0.0:
            row[other] = 0.0
            continue
        cosine = cosine_of(vectors, lengths, new, vectors, lengths, other, lanes)
        row[other] = quality[new] * quality[other] * cosine
    for place in range(count):
        before, own = factor[place], factor[place, new]
        for other in range(len(row)):
            row[other] -= own * before[other]
    root = np.sqrt(left[new])
    for other in range(len(row)):
        row[other] /= root
        left[other] -= row[other] * row[other]
