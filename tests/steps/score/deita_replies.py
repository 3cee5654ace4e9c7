"""Choices among DEITA's six scores, and what a scorer makes of them."""

import math
from typing import Any

import pytest

from curate.ask import Reply


def chances(*shares: float, **rest: Any) -> Reply:
    """Return a choice among 1 to 6 with these probabilities."""
    return Reply(values=tuple(map(math.log, shares)), mass=sum(shares), **rest)


def answered(step: Any, row: Any, *replies: Reply) -> Any:
    asking = step.score(row)
    asked = next(asking)
    assert len(asked) == len(replies)
    with pytest.raises(StopIteration) as end:
        asking.send(list(replies))
    return end.value.value, asked


EVEN = chances(*[1 / 6] * 6)
# 1 x 0.1 + 2 x 0.2 + 3 x 0.4 + 4 x 0.15 + 5 x 0.1 + 6 x 0.05 = 3.1
SKEWED = chances(0.1, 0.2, 0.4, 0.15, 0.1, 0.05)
# Of half the mass: (2 x 0.1 + 6 x 0.3 + 0.1 (1 + 3 + 4 + 5) / 4) / 0.5 = 4.65
HALF = chances(0.025, 0.1, 0.025, 0.025, 0.025, 0.3)
