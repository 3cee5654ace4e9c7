"""The test item that means most nearly what a text does, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.vectors.prefilter import BFloat16Prefilter, Choice, prefilter_for, prepared
from curate.kernels.vectors.unit_vectors import UnitVectors, cosines_between, unit


class ItemVectors:
    """The vectors of test items; a prefilter looks through them, float64 decides."""

    def __init__(self, vectors: np.ndarray, choice: Choice = "auto") -> None:
        """Measure the vectors; those of zeros stand for items without words.

        Rows come one at a time, which FAISS serves best: `auto` is `float32` here.
        """
        self._items = UnitVectors.of(vectors)
        self._rows = np.flatnonzero(self._items.lengths > 0)
        width = self._items.vectors.shape[1]
        self._prefilter = prefilter_for(1, 1.0, "float32" if choice == "auto" else choice)
        self._window = np.float32(2 * self._prefilter.margin(width))
        self._ready = prepared(self._prefilter, self._items, self._rows)
        if not isinstance(self._prefilter, BFloat16Prefilter):
            import faiss

            self._index = faiss.IndexFlatIP(width)
            self._index.add(self._ready)

    def closest(self, vector: Sequence[float]) -> tuple[int, float] | None:
        """Return the place of the closest item, the first one on a tie, and the cosine.

        A vector of zeros is close to none.
        """
        own = UnitVectors.of(np.array([vector], np.float32))
        if own.lengths[0] == 0 or not len(self._rows):
            return None
        if isinstance(self._prefilter, BFloat16Prefilter):
            query = self._prefilter.prepare(own.vectors, own.lengths)
            fast = self._prefilter.floats(self._prefilter.products(query, self._ready))[0]
            found = np.flatnonzero(fast >= fast.max() - self._window)
        else:
            query = unit(own.vectors, own.lengths)
            largest = self._index.search(query, 1)[0][0, 0]
            below = float(np.nextafter(largest - self._window, np.float32(-9)))
            found = np.sort(self._index.range_search(query, below)[2])
        rows = self._rows[found]
        cosines = cosines_between(self._items, rows, own, np.zeros(len(rows), np.int64))
        place = int(np.argmax(cosines))
        return int(rows[place]), float(cosines[place])
