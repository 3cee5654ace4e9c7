"""The rows nearest to a vector, exactly: FAISS looks through them, float64 decides.

FAISS's float32 products name the rows that may be among the nearest, within the proved bound of
their error; those are ordered by their cosine in float64, the first row on a tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.vectors.prefilter import BFloat16Prefilter, Choice
from curate.kernels.vectors.unit_vectors import UnitVectors, cosines_between, margin_of, unit
from curate.system.package_data import require_extra


class NearestRows:
    """Vectors to look through; rows of zeros are near to nothing."""

    def __init__(
        self, vectors: np.ndarray, choice: Choice = "auto", read: np.ndarray | None = None
    ) -> None:
        """Measure the vectors, of texts of which `read` hashes what was read (0: all of it).

        Queries come one at a time, which FAISS serves best: `auto` is `float32` here.

        Raises:
            MissingExtra: FAISS, or torch for `bfloat16`, is not installed.
        """
        self.vectors = UnitVectors.of(vectors)
        self._read = np.zeros(len(vectors), np.int64) if read is None else read
        self._rows = np.flatnonzero(self.vectors.lengths > 0)
        own, lengths = self.vectors.vectors[self._rows], self.vectors.lengths[self._rows]
        self._half = BFloat16Prefilter() if choice == "bfloat16" else None
        if self._half is not None:
            require_extra("vectors", "prefilter 'bfloat16'", "torch")
            self._ready = self._half.prepare(own, lengths)
            return
        require_extra("vectors", "a search for near rows", "faiss")
        import faiss

        self._index = faiss.IndexFlatIP(own.shape[1])
        self._index.add(unit(own, lengths))

    def nearest(
        self, vector: Sequence[float], count: int, read: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return at most `count` rows, the nearest first, and their cosines.

        A vector of zeros is near to none. `read` hashes what was read of a text that was not read
        in whole: rows of which the same was read are left out.
        """
        own = UnitVectors.of(np.array([vector], np.float32))
        alike = self._read == (read or -1)
        left_out = int(alike[self._rows].sum())
        count = min(count + left_out, len(self._rows))
        if own.lengths[0] == 0 or not count:
            return np.zeros(0, np.int64), np.zeros(0)
        # All that may be among the nearest, by fast products; these are off by a margin at most.
        if self._half is not None:
            query = self._half.prepare(own.vectors, own.lengths)
            fast = self._half.floats(self._half.products(query, self._ready))[0]
            window = np.float32(2 * self._half.margin(own.vectors.shape[1]))
            near = np.flatnonzero(fast >= np.partition(fast, -count)[-count] - window)
        else:
            query = unit(own.vectors, own.lengths)
            last = self._index.search(query, count)[0][0, -1]
            window = np.float32(2 * margin_of(own.vectors.shape[1]))
            # FAISS finds what is above a number.
            below = float(np.nextafter(last - window, np.float32(-9)))
            near = np.sort(self._index.range_search(query, below)[2])
        rows = self._rows[near]
        rows, count = rows[~alike[rows]], count - left_out
        cosines = cosines_between(self.vectors, rows, own, np.zeros(len(rows), np.int64))
        order = np.argsort(-cosines, kind="stable")[:count]
        return rows[order], cosines[order]
