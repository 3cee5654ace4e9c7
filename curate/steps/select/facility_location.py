"""Keep the rows that stand for all others best."""

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
class FacilityLocation(Whole):
    """Keep the rows that stand for all others best.

    Lazy greedy facility location over the vectors that `encoder` makes of the texts: each choice
    adds most to the sum, over all rows, of the cosine with the closest kept row (0 where it is
    negative). `neighbours` lets a row stand only for those that have it among so many nearest ones:
    faster, with hardly any loss from 64 on; `null` counts all pairs, whose number is the square of
    the rows'. `count` rows are kept, or `share` of them (rounded down, at least one row); without
    both, all. A dropped row names the closest kept one and their cosine, which is the score; rows
    without a text are dropped once there is an amount.
    """

    on: On = "whole"
    encoder: str | None = None
    neighbours: int | None = 64
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "Nemhauser, Wolsey and Fisher 1978; Minoux 1978 (lazy greedy)"

    def check(self) -> None:
        """Reject two amounts, and no neighbours."""
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours is at least 1 (a row itself), not {self.neighbours}")
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

        def choose(every: Any, count: int) -> np.ndarray:
            return select.facility_location(every, count, neighbours=self.neighbours)

        return verdicts_on(sketches, self.count, self.share, choose)
