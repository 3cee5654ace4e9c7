"""Number equal rows, so that every row of every input has an id of its own.

An id is the content's hash for its first occurrence, and a hash of hash and number afterwards. The
numbers come from one open-addressing table of 64-bit prefixes, probed for a whole part at once with
numpy: 12 bytes a slot, no compiled code, about 0.2 s per million rows. Two different contents with
the same 64-bit prefix only share a counter, so a collision costs nothing but a gap in the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.row import occurrence_id

_MAX_LOAD = 0.7
_FIRST_SIZE = 1 << 16


class Occurrences:
    """Count how often each content digest has been seen, in source order."""

    def __init__(self) -> None:
        self._keys = np.zeros(_FIRST_SIZE, np.uint64)
        self._counts = np.zeros(_FIRST_SIZE, np.uint32)
        self._used = 0

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
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.ones(len(keys), bool)
        first[1:] = ordered[1:] != ordered[:-1]
        starts = np.flatnonzero(first)
        group = np.cumsum(first) - 1
        rank = np.arange(len(keys)) - starts[group]
        sizes = np.diff(np.append(starts, len(keys)))
        slots = self._slots(ordered[starts])
        before = self._counts[slots].astype(np.int64)
        self._counts[slots] += sizes.astype(np.uint32)
        out = np.empty(len(keys), np.int64)
        out[order] = before[group] + rank
        return out

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        """Return the slot of each distinct key, adding those that are new."""
        if self._used + len(keys) > _MAX_LOAD * len(self._keys):
            self._grow(self._used + len(keys))
        slots, fresh = _probe(self._keys, self._counts, keys)
        self._used += fresh
        return slots

    def _grow(self, need: int) -> None:
        size = len(self._keys)
        while need > _MAX_LOAD * size:
            size *= 2
        filled = self._counts > 0
        keys, counts = self._keys[filled], self._counts[filled]
        self._keys, self._counts = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
        # In slices: probing needs some working memory per key.
        for start in range(0, len(keys), 1 << 16):
            part = slice(start, start + (1 << 16))
            slots, _ = _probe(self._keys, self._counts, keys[part])
            self._counts[slots] = counts[part]


def _probe(table: np.ndarray, counts: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, int]:
    """Find or claim a slot for each distinct key by linear probing, all keys at once.

    A count above zero marks a slot as taken; claimed slots are handed back with count zero, and
    the caller sets their counts before the next call.
    """
    mask = len(table) - 1
    slots = ((keys ^ (keys >> np.uint64(29))) & np.uint64(mask)).astype(np.int64)
    pending, claimed = np.arange(len(keys)), []
    while len(pending):
        at = slots[pending]
        occupied = counts[at] > 0
        found = occupied & (table[at] == keys[pending])
        free = np.flatnonzero(~occupied)
        # Of several keys after one free slot, the last to write its number there has it.
        numbers = np.arange(1, len(free) + 1, dtype=counts.dtype)
        counts[at[free]] = numbers
        won = free[counts[at[free]] == numbers]
        table[at[won]] = keys[pending[won]]
        claimed.append(at[won])
        # Whoever lost a free slot looks at it again (it is taken now); the others move on.
        moving = occupied & ~found
        slots[pending[moving]] = (at[moving] + 1) & mask
        found[won] = True
        pending = pending[~found]
    new = np.concatenate(claimed) if claimed else np.zeros(0, np.int64)
    counts[new] = 0
    return slots, len(new)
