"""Score answers to the generated tasks of reasoning-gym, in the processes of a `KillablePool`.

The library takes a second to load, and some of its families evaluate the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from reasoning_gym import get_score_answer_fn
from reasoning_gym.factory import DATASETS


def score(job: dict[str, Any]) -> dict[str, Any]:
    """Return the score of `answer` to `entry` of a `family`, or the families that there are.

    `own` is the score of the entry's own answer, where it has one.
    """
    if job["family"] not in DATASETS:
        return {"families": sorted(DATASETS)}
    rule, entry = _scorer(job["family"]), job["entry"]
    own = None if entry["answer"] is None else float(rule(answer=entry["answer"], entry=entry))
    return {"own": own, "score": float(rule(answer=job["answer"], entry=entry))}


@functools.cache
def _scorer(family: str) -> Callable[..., float]:
    found: Callable[..., float] = get_score_answer_fn(family)
    return found
