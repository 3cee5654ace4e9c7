"""What the steps share that keep so many rows by their vectors: amount, sketches and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.kernels.arrays.groups import check_amount
from curate.row import On, Row
from curate.step import EMBEDDING, Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class Choice(Whole):
    """Keep the rows that `choose` chooses by the vectors that `encoder` makes of the texts.

    An operator with a field `by` also finds the score of that step, in the column `score`.

    Attributes:
        count: So many rows are kept; without it and `share`, all.
        share: So large a share of the rows is kept (rounded down, at least one row).
    """

    on: On = "whole"
    encoder: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)

    def check(self) -> None:
        """Refuse two amounts, and impossible ones."""
        check_amount(self.count, self.share)

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Return at most `count` rows of the vectors, in the order of choice."""
        raise NotImplementedError

    def sketch_types(self) -> dict[str, str]:
        """Return the vector, and the score that `by` names, if the step has one."""
        return {"vector": EMBEDDING} | ({"score": "float64"} if self.reads_scores() else {})

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector, and its score."""
        values: dict[str, Any] = {"vector": row.text(self.on)}
        for by in self.reads_scores():
            values["score"] = row.scores.get(by)
        return values

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk, and their scores."""
        from curate.kernels.arrays.duplicates import score_column

        values = {"vector": chunk.texts(self.on)}
        for by in self.reads_scores():
            values["score"] = score_column(chunk, by)
        return values

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Choose, and name the closest kept row of each that is not chosen."""
        from curate.select.verdicts import verdicts_on

        def choose(every: UnitVectors, count: int) -> np.ndarray:
            return self.choose(every, sketches, count)

        return verdicts_on(sketches, self.count, self.share, choose)
