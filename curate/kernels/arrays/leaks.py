"""Rows of another dataset in this one: what the deduplicating steps say of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from curate.chunk import ORIGIN
from curate.kernels.arrays.nearest import NearestKept
from curate.step import Verdicts


def with_leaks(found: Verdicts, leaked: NearestKept, sketches: pa.Table, reason: str) -> Verdicts:
    """Return verdicts in which rows that `leaked` gives a partner in another dataset are dropped.

    Each names the file and the record of the other dataset in its details.
    """
    drop = leaked.partner >= 0
    count = len(drop)
    details: list[dict[str, Any] | None] = [None] * count
    where = np.flatnonzero(drop)
    origins = sketches.column(ORIGIN).take(pa.array(leaked.partner[where])).to_pylist()
    for place, origin in zip(where.tolist(), origins, strict=True):
        details[place] = {"against": origin}
    score = np.full(count, np.nan) if found.score is None else found.score
    partner = np.full(count, -1) if found.partner is None else found.partner
    return dataclasses.replace(
        found,
        code=np.where(drop, len(found.reasons), found.code),
        reasons=(*found.reasons, reason),
        score=np.where(drop, leaked.similarity, score),
        partner=np.where(drop, -1, partner),
        details=details,
    )


def not_leaked(order: np.ndarray, leaked: NearestKept | None) -> np.ndarray:
    """Return `order` without the rows that stand in the other dataset: nobody is like them."""
    return order if leaked is None else order[leaked.partner[order] < 0]
