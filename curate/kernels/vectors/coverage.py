"""How near every vector is to the closest of some chosen ones, exactly, as choices are added.

One pass per choice. Most rows are settled by the triangle inequality or by a float32 product; only
a row that the new choice may be nearest to costs a cosine in float64. So the values are those of
the definition, to the last bit, whatever the blocks and threads. 24 bytes a row, no copy of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.vectors.unit_vectors import LANES, UnitVectors, cosine_of, margin_of, product_of

# Beyond these lengths a float32 product may overflow or vanish, and says nothing.
_SHORTEST, _LONGEST = 1e-12, 1e12
# Far above the rounding errors of chords of unit vectors, so that skipping is always right.
_SLACK = 1e-4
NONE = -2.0  # below every cosine


class Cover:
    """The `cosine` of every row with its nearest chosen row (below -1: none, or a row of zeros).

    Of equally near choices the earlier one is named. A chosen row is nearest to itself.
    """

    def __init__(self, every: UnitVectors) -> None:
        lengths = every.lengths
        self.every = every
        self.cosine = np.full(len(every), NONE)
        self.chosen: list[int] = []
        self._place = np.full(len(every), -1, np.int64)
        usable = (lengths > _SHORTEST) & (lengths < _LONGEST)
        self._scale = np.where(usable, 1.0 / np.where(usable, lengths, 1.0), np.nan)
        self._between = np.empty(16)

    def add(self, row: int) -> None:
        """Let `row`, which must not be zeros, be a choice."""
        count = len(self.chosen)
        if count + 1 > len(self._between):
            self._between = np.empty(2 * len(self._between))
        vectors, lengths = self.every.vectors, self.every.lengths
        centres = np.array(self.chosen, np.int64)
        _distances(vectors, lengths, row, centres, self._between)
        _approach(
            vectors, lengths, self._scale, row, count, self._between, self.cosine, self._place,
            margin_of(vectors.shape[1]),
        )  # fmt: skip
        self.chosen.append(row)

    def nearest_of(self, row: int) -> int:
        """Return the nearest choice of one row, or -1."""
        place = self._place[row]
        return -1 if place < 0 else self.chosen[place]


@njit(nogil=True, cache=True)
def _chord(cosine: float) -> Any:
    return np.sqrt(max(0.0, 2.0 - 2.0 * cosine))


@njit(nogil=True, cache=True)
def _distances(
    vectors: np.ndarray, lengths: np.ndarray, row: int, centres: np.ndarray, out: np.ndarray
) -> None:
    """Write the distances from `row` to the choices so far, on the unit sphere."""
    lanes = np.empty(LANES)
    for place in range(len(centres)):
        centre = centres[place]
        out[place] = _chord(cosine_of(vectors, lengths, row, vectors, lengths, centre, lanes))


@njit(nogil=True, cache=True)
def _approach(
    vectors: np.ndarray,
    lengths: np.ndarray,
    scale: np.ndarray,
    row: int,
    count: int,
    between: np.ndarray,
    best: np.ndarray,
    place: np.ndarray,
    margin: float,
) -> None:
    """Move every row that the choice `row` (number `count`) is nearest to."""
    lanes = np.empty(LANES)
    for other in range(len(vectors)):
        if lengths[other] == 0.0:
            continue
        if place[other] >= 0:
            if between[place[other]] >= 2.0 * _chord(best[other]) + _SLACK:
                continue
            about = product_of(vectors[other], vectors[row]) * scale[other] * scale[row]
            # Not a number where a length is extreme: then only float64 knows.
            if about + margin < best[other]:
                continue
        cosine = cosine_of(vectors, lengths, other, vectors, lengths, row, lanes)
        if cosine > best[other]:
            best[other] = cosine
            place[other] = count
