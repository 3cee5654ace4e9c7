"""The test item that means most nearly what a text does, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.vectors.prefilter import Float32Prefilter
from curate.kernels.vectors.unit_vectors import UnitVectors, cosines_between


class ItemVectors:
    """The vectors of test items; a float32 product looks through them, float64 decides."""

    def __init__(self, vectors: np.ndarray) -> None:
        """Measure the vectors; those of zeros stand for items without words."""
        self._items = UnitVectors.of(vectors)
        self._prefilter = Float32Prefilter()
        self._unit = self._prefilter.prepare(self._items.vectors, self._items.lengths)

    def closest(self, vector: Sequence[float]) -> tuple[int, float] | None:
        """Return the place of the closest item, the first one on a tie, and the cosine.

        A vector of zeros is close to none.
        """
        own = UnitVectors.of(np.array([vector], np.float32))
        if own.lengths[0] == 0 or not (self._items.lengths > 0).any():
            return None
        fast = self._unit @ self._prefilter.prepare(own.vectors, own.lengths)[0]
        fast[self._items.lengths == 0] = -2
        margin = 2 * self._prefilter.margin(len(own.vectors[0]))
        best = np.flatnonzero(fast >= fast.max() - margin)
        cosines = cosines_between(self._items, best, own, np.zeros(len(best), np.int64))
        place = int(np.argmax(cosines))
        return int(best[place]), float(cosines[place])
