"""Keep rows so that every dropped row has a kept one near it."""

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
class KCenter(Whole):
    """Keep rows spread so widely that every dropped one has a kept one near it.

    Greedy k-center over the vectors that `encoder` makes of the texts: first the row closest to the
    mean direction, then always the row farthest from all kept ones. It reaches for outliers: filter
    first. `count` rows are kept, or `share` of them (rounded down, at least one row); without both,
    all. A dropped row names the closest kept one and their cosine, which is the score; rows without
    a text are dropped once there is an amount.
    """

    on: On = "whole"
    encoder: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "Sener and Savarese 2018, arXiv 1708.00489, sec. 4; Gonzalez 1985"

    def check(self) -> None:
        """Reject two amounts."""
        check_amount(self.count, self.share)

    def sketch_types(self) -> dict[str, str]:
        """Return the vector (and no score)."""
        return {"vector": "embedding", "score": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector."""
        from curate.select.verdicts import sketch_of

        return sketch_of(row, self.on, None)

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk."""
        from curate.select.verdicts import sketches_of

        return sketches_of(chunk, self.on, None)

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Choose, and name the closest kept row of each that is not chosen."""
        from curate import select
        from curate.select.verdicts import verdicts_on

        return verdicts_on(sketches, self.count, self.share, select.k_center)
