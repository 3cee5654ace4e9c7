"""Number equal rows, so that every row of every input has an id of its own.

An id is the content's hash for its first occurrence, and a hash of hash and number afterwards. The
numbers are counted by 64-bit prefixes: two different contents with the same prefix only share a
counter, so a collision costs nothing but a gap in the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.arrays.growable import GrowableArray
from curate.kernels.arrays.hash_table import KeyTable
from curate.row import occurrence_id


class Occurrences:
    """Count how often each content digest has been seen, in source order."""

    def __init__(self) -> None:
        self._table, self._counts = KeyTable(), GrowableArray(np.uint32)

    def ids(self, digests: Sequence[bytes]) -> np.ndarray:
        """Return the ids of the next rows as an array of 16-byte values."""
        packed = np.frombuffer(b"".join(digests), np.dtype("V16")).copy()
        if not len(packed):
            return packed
        numbers = self.number(packed.view(np.uint64)[::2])
        again = np.flatnonzero(numbers)
        own = map(occurrence_id, map(digests.__getitem__, again.tolist()), numbers[again].tolist())
        packed[again] = np.frombuffer(b"".join(own), packed.dtype)
        return packed

    def number(self, keys: np.ndarray) -> np.ndarray:
        """Return, for each key (uint64) in order, how many equal keys came before it."""
        numbers = self._table.add(keys)
        self._counts.extend(np.zeros(self._table.count - len(self._counts), np.uint32))
        counts = self._counts.values
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        sizes = np.diff(np.append(starts, len(keys)))
        out = np.empty(len(keys), np.int64)
        out[order] = counts[ordered] + np.arange(len(keys)) - np.repeat(starts, sizes)
        counts[ordered[starts]] += sizes.astype(np.uint32)
        return out
