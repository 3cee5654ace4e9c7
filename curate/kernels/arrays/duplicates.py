"""What the deduplicating steps share: the order of the walk, and what a search finds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import ORIGIN
from curate.step import Verdicts

if TYPE_CHECKING:
    from curate.chunk import Chunk

Keep = Literal["first", "longest", "best"]


class NearestKept(NamedTuple):
    """For each row: the most similar kept one that made it a duplicate (or -1), and how similar."""

    partner: np.ndarray
    similarity: np.ndarray


def walk_order_of(keep: Keep, sketches: pa.Table, *, lowest: bool = False) -> np.ndarray:
    """Return the places of all rows, the most wanted first; ties stay in source order.

    `longest` compares the column `length`; `best` the column `score`, from the highest (or the
    lowest) value, and rows without a score come last.
    """
    if keep == "first":
        return np.arange(sketches.num_rows, dtype=np.int64)
    if keep == "longest":
        length = sketches.column("length").to_numpy()
        return np.argsort(-length.astype(np.int64), kind="stable")
    score = pc.fill_null(sketches.column("score"), float("nan")).to_numpy()
    # NaN sorts after every number, whatever its sign.
    return np.argsort(score if lowest else -score, kind="stable")


def score_column(chunk: Chunk, by: str | None) -> pa.Array:
    """Return the scores of the step `by` for a chunk, all null where none is asked for."""
    if by is None:
        return pa.nulls(len(chunk), pa.float64())
    return pa.array(chunk.scores(by), pa.float64(), from_pandas=True)


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
