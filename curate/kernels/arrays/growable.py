"""What grows at its end: arrays, and a table that numbers distinct 64-bit keys as they first come.

Few keys stand in a dictionary, so that small inputs need no compiled code; many in one
open-addressing table of 12 bytes a slot, of which at most 7 in 10 are taken: 0.04 s per million.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MAX_LOAD = 0.7
_FIRST_SIZE = 1 << 18
# From this many keys on there is enough work to load compiled code.
_FEW = 1 << 15


class GrowableArray:
    """Values of one NumPy type, in room that doubles when it is full."""

    def __init__(self, dtype: Any, room: int = 1 << 14) -> None:
        self._room, self._count = np.empty(room, dtype), 0

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> np.ndarray:
        """What has been added, as a view that holds until more is."""
        return self._room[: self._count]

    def extend(self, values: np.ndarray) -> None:
        """Add values behind the others."""
        end = self._count + len(values)
        if end > len(self._room):
            room = np.empty(max(end, 2 * len(self._room)), self._room.dtype)
            room[: self._count] = self.values
            self._room = room
        self._room[self._count : end] = values
        self._count = end


class KeyTable:
    """Remember distinct keys; the n-th new one has the number n, from zero."""

    def __init__(self) -> None:
        self.count = 0
        self._few: dict[int, int] = {}
        # Made when there are too many; a slot holds one more than the number of its key, or zero.
        self._keys = np.zeros(0, np.uint64)
        self._numbers = np.zeros(0, np.uint32)

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Return the number (int64) of each of the next keys (uint64)."""
        if self.count + len(keys) <= _FEW:
            few = [self._few.setdefault(key, len(self._few)) for key in keys.tolist()]
            self.count = len(self._few)
            return np.array(few, np.int64)
        from curate.kernels.arrays.key_slots import fill, refill

        need = self.count + len(keys)
        if need > _MAX_LOAD * len(self._keys):
            old_keys, old_numbers = self._keys, self._numbers
            size = _FIRST_SIZE
            while need > _MAX_LOAD * size:
                size *= 2
            self._keys, self._numbers = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
            if len(old_keys):
                refill(self._keys, self._numbers, old_keys, old_numbers)
            else:
                known = np.fromiter(self._few, np.uint64, len(self._few))
                fill(self._keys, self._numbers, known, 0, np.empty(len(known), np.int64))
                self._few = {}
        numbers = np.empty(len(keys), np.int64)
        self.count = fill(self._keys, self._numbers, keys, self.count, numbers)
        return numbers
