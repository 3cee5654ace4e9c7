"""Keep the rows whose vectors span the largest volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.groups import check_amount
from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Dpp(Whole):
    """Keep the rows whose vectors span the largest volume (a determinantal point process).

    Greedy MAP inference: each choice makes the determinant of the kept rows' kernel largest, that
    of their cosines times their qualities, the score of the step `by` (not negative; a row without
    one has the lowest), else 1. It can keep as many rows as the vectors have dimensions (384 with
    the default encoder) and leaves the rest of the `count` empty. `count` rows are kept, or `share`
    of them (rounded down, at least one row); without both, all. A dropped row names the closest
    kept one and their cosine, which is the score; rows without a text are dropped once there is an
    amount.
    """

    on: On = "whole"
    encoder: str | None = None
    by: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "Chen, Zhang and Zhou 2018, arXiv 1709.05135, algorithm 1"

    def check(self) -> None:
        """Reject two amounts."""
        check_amount(self.count, self.share)

    def sketch_types(self) -> dict[str, str]:
        """Return the vector, and the score that `by` names."""
        return {"vector": "embedding", "score": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector."""
        from curate.select.verdicts import sketch_of

        return sketch_of(row, self.on, self.by)

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk."""
        from curate.select.verdicts import sketches_of

        return sketches_of(chunk, self.on, self.by)

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Choose, and name the closest kept row of each that is not chosen."""
        from curate import select
        from curate.select.verdicts import scores_of, verdicts_on

        def choose(every: Any, count: int) -> np.ndarray:
            quality = None if self.by is None else scores_of(sketches, self.by)
            return select.dpp(every, count, quality=quality)

        return verdicts_on(sketches, self.count, self.share, choose)
