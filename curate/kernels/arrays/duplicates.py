"""What the deduplicating steps share: order of the walk, equal hashes, what a search finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import ORIGIN
from curate.kernels.arrays.growable import GrowableArray, KeyTable
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


def origins_by_part(
    leaked: NearestKept, others: Sequence[Callable[[], pa.Table]]
) -> tuple[NearestKept, pa.Table]:
    """Return what `with_leaks` asks for where the other dataset's sketches are read part by part.

    Partners are renumbered: places in a table with the origins of those rows alone.
    """
    places, number = np.unique(leaked.partner, return_inverse=True)
    if len(places) and places[0] < 0:
        places, number = places[1:], number - 1
    start, origins = 0, [pa.array([], pa.string())]
    for read in others:
        column = read().column(ORIGIN)
        own = places[(places >= start) & (places < start + len(column))]
        origins += column.take(pa.array(own - start)).chunks
        start += len(column)
    return leaked._replace(partner=number), pa.table({ORIGIN: pa.chunked_array(origins)})


def not_leaked(order: np.ndarray, leaked: NearestKept | None) -> np.ndarray:
    """Return `order` without the rows that stand in the other dataset: nobody is like them."""
    return order if leaked is None else order[leaked.partner[order] < 0]


def first_of_equals(hashes: pa.ChunkedArray, order: np.ndarray) -> np.ndarray:
    """Return for every row the first of its equals in `order`, or -1 for that row itself.

    Rows whose hash is null have no equals.
    """
    column = hashes.combine_chunks()  # 16 bytes a row: copying them is cheaper than parts
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.nulls(0, pa.binary(16))])
    out = np.full(len(column), -1, np.int64)
    order = order[np.asarray(pc.is_valid(column))[order]]
    if not len(order):
        return out
    words = np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)][order]
    # Few words share a half with another, so only those are sorted by everything.
    first = words[:, 0].copy()
    ranks = np.argsort(first)  # not stable, but by far the fastest
    ordered = first[ranks]
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(len(words), bool)
    shared[ranks[1:][same]] = shared[ranks[:-1][same]] = True
    at = np.flatnonzero(shared)
    at = at[np.lexsort((words[at, 1], words[at, 0]))]  # stable: equals stay in walking order
    starts = np.ones(len(at), bool)
    starts[1:] = (words[at[1:]] != words[at[:-1]]).any(axis=1)
    heads = at[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    out[order[at]] = np.where(at == heads, -1, order[heads])
    return out


class EqualsSoFar:
    """Hashes as they come, each with the first of its equals; 33 to 50 bytes for a different one.

    Hashes are told apart by their first half; those few that share it with another one and are not
    equal to it stand in a dictionary.
    """

    def __init__(self) -> None:
        self._table, self._rows = KeyTable(), 0
        # By the number of a first half: who had it first, and that one's second half.
        self._heads, self._seconds = GrowableArray(np.int64), GrowableArray(np.uint64)
        self._others: dict[bytes, int] = {}

    def first_of(self, hashes: pa.Array) -> np.ndarray:
        """Return for each of the next rows its first equal among all rows so far, or -1.

        `hashes` is an array of `binary(16)`; rows whose hash is null have no equals.
        """
        out = np.full(len(hashes), -1, np.int64)
        where = np.flatnonzero(np.asarray(pc.is_valid(hashes)))
        if not len(where):
            self._rows += len(hashes)
            return out
        words = np.frombuffer(hashes.buffers()[1], np.uint64).reshape(-1, 2)
        words = words[hashes.offset : hashes.offset + len(hashes)][where]
        before = self._table.count
        number = self._table.add(words[:, 0])
        # Numbers rise where a half comes for the first time, and nowhere else.
        highest = np.maximum.accumulate(np.append(before - 1, number))
        heads = np.flatnonzero(np.diff(highest))
        self._heads.extend(where[heads] + self._rows)
        self._seconds.extend(words[heads, 1])
        first = self._heads.values[number]
        for place in np.flatnonzero(self._seconds.values[number] != words[:, 1]).tolist():
            row = int(where[place]) + self._rows
            first[place] = self._others.setdefault(words[place].tobytes(), row)
        out[where] = np.where(first == where + self._rows, -1, first)
        self._rows += len(hashes)
        return out
