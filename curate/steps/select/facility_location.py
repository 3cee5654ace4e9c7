"""Keep the rows that stand for all others best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class FacilityLocation(Choice):
    """Keep the rows that represent all others best.

    Lazy greedy facility location over the vectors that `encoder` makes of the texts: each choice
    adds most to the sum, over all rows, of the cosine with the closest kept row (0 if negative).
    `neighbours` lets a row represent only rows that have it among that many nearest ones: this is
    faster, with hardly any loss from 64 on; `null` uses all pairs, whose number is the square of
    the number of rows. `count` is the number of rows to keep. `share` is the share to keep instead
    (rounded down, at least one row); without both, all rows are kept. A dropped row names the
    closest kept one, and their cosine is the score; rows without a text are dropped if there is a
    number.
    """

    neighbours: int | None = 64

    source: ClassVar[str] = "Nemhauser, Wolsey and Fisher 1978; Minoux 1978 (lazy greedy)"

    def check(self) -> None:
        """Reject two amounts, and no neighbours."""
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours is at least 1 (a row itself), not {self.neighbours}")
        super().check()

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Choose greedily, the row that adds most first."""
        from curate import select

        return select.facility_location(every, count, neighbours=self.neighbours)
