"""An array that grows at its end."""

from __future__ import annotations

from typing import Any

import numpy as np


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
