"""Which parts to begin once more because they are late: backup tasks (Dean & Ghemawat 2004, 3.6).

Parts come back in order, so that a slow node keeps all those behind its part waiting: with one node
in fifty eight times as slow as the others, a thousand of them stand still for three quarters of the
time. Whichever copy is there first counts; both are the same bytes. The price is the work of the
other one. Nothing here knows of Ray or of a clock: a simulation runs the same object.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Generic, TypeVar

# A part is late when it has been away for so many times the usual time.
LATE = 2.0
# And for so many seconds: a copy of a short part is not worth its way.
LEAST_SECONDS = 5.0
# The usual time is the median of the last parts; without so many there is none.
_REMEMBERED, _ENOUGH = 256, 8

_Part = TypeVar("_Part")


class Backups(Generic[_Part]):
    """The parts that are away, and since when. Times are seconds of any clock."""

    def __init__(self) -> None:
        """Know no part yet."""
        self._sent: dict[_Part, float] = {}
        self._again = set[_Part]()
        self._took = deque[float](maxlen=_REMEMBERED)
        self.begun = 0

    def sent(self, part: _Part, now: float) -> None:
        """Note a part that is sent."""
        self._sent[part] = now

    def back(self, part: _Part, now: float) -> None:
        """Note a part that is back, or given up."""
        since = self._sent.pop(part, None)
        if since is not None and part not in self._again:
            self._took.append(now - since)
        self._again.discard(part)

    def usual(self) -> float | None:
        """Return how long parts are away, or `None` where too few have come back."""
        return statistics.median(self._took) if len(self._took) >= _ENOUGH else None

    def late(self, now: float) -> list[_Part]:
        """Return the parts to begin once more, each of them once."""
        usual = self.usual()
        if usual is None:
            return []
        most = max(LATE * usual, LEAST_SECONDS)
        found = [
            part
            for part, since in self._sent.items()
            if now - since > most and part not in self._again
        ]
        self._again.update(found)
        self.begun += len(found)
        return found
