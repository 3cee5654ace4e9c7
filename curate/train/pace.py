"""How far a training is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class TrainingProgress(NamedTuple):
    """Steps done and to do, speed, seconds left (where they can be told), and the last metrics."""

    step: int
    steps: int
    tokens_per_second: float
    seconds_left: float | None
    metrics: Mapping[str, float]


Listener = Callable[[TrainingProgress], None]


class Pace:
    """Measure the speed of a training from where it began, or was taken up again."""

    def __init__(self, clock: Callable[[], float], step: int = 0) -> None:
        self._clock, self._began, self._first = clock, clock(), step

    def at(
        self, step: int, steps: int, tokens: float, metrics: Mapping[str, float]
    ) -> TrainingProgress:
        """Return the progress after `step` of `steps`, `tokens` of which were read since."""
        seconds = max(self._clock() - self._began, 1e-9)
        done = step - self._first
        left = seconds / done * (steps - step) if done else None
        return TrainingProgress(step, steps, tokens / seconds, left, dict(metrics))
