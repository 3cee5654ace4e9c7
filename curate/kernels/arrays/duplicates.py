"""The order in which a deduplicating step walks the rows: who is asked first is kept first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from curate.chunk import Chunk

Keep = Literal["first", "longest", "best"]


def walk_order(
    keep: Keep, length: np.ndarray, score: np.ndarray, *, lowest: bool = False
) -> np.ndarray:
    """Return the places of all rows, the most wanted first; ties stay in source order.

    `longest` looks at `length`; `best` at `score`, from the highest (or the lowest) value, and
    rows without a score (NaN) come last.
    """
    if keep == "first":
        return np.arange(len(length), dtype=np.int64)
    if keep == "longest":
        return np.argsort(-length.astype(np.int64), kind="stable")
    # NaN sorts behind every number, whatever its sign.
    return np.argsort(score if lowest else -score, kind="stable")


def walk_order_of(keep: Keep, sketches: pa.Table, *, lowest: bool = False) -> np.ndarray:
    """Return `walk_order` for sketches with the columns `length` and `score`."""
    length = sketches.column("length").to_numpy()
    score = pc.fill_null(sketches.column("score"), float("nan")).to_numpy()
    return walk_order(keep, length, score, lowest=lowest)


def score_column(chunk: Chunk, by: str | None) -> pa.Array:
    """Return the scores of the step `by` for a chunk, all null where none is asked for."""
    if by is None:
        return pa.nulls(len(chunk), pa.float64())
    return pa.array(chunk.scores(by), pa.float64(), from_pandas=True)
