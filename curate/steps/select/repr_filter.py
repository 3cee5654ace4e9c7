"""Take rows from the best score down, unless one taken before is too close (DEITA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.step import Verdicts, rule
from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class ReprFilter(Choice):
    """Keep the best rows that are not too close to a better kept one (DEITA's repr filter).

    Rows are visited by the score of the step `by`, highest first (ties in source order, rows
    without a score last). With `lowest`, the lowest score comes first. A row is dropped if its
    cosine with any kept one is above `similarity`; the closest of them and the cosine are named.
    `count` is the number of kept rows at which the step stops. `share` sets that number as a share
    instead. Rows without a text are dropped.
    """

    by: str | None = None
    lowest: bool = rule(False)
    similarity: float = rule(0.9)

    source: ClassVar[str] = "Liu et al. 2023 (DEITA), arXiv 2312.15685, section 2.4; 0.9 theirs"

    def check(self) -> None:
        """Reject a step without a score, two amounts, and an impossible cosine."""
        if not self.by:
            raise ValueError("by must name an earlier step whose score decides who comes first")
        if not 0 < self.similarity < 1:
            raise ValueError(f"similarity is above 0 and below 1, not {self.similarity}")
        super().check()

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Walk the rows from the best score down."""
        import numpy as np

        from curate import select
        from curate.kernels.arrays.groups import allowed_of
        from curate.kernels.vectors.unit_vectors import UnitVectors
        from curate.select.verdicts import NO_TEXT, amount_of, scores_of

        every = UnitVectors.of_column(sketches, "vector")
        limited = self.count is not None or self.share is not None
        count = allowed_of(len(every), self.count, self.share) if limited else None
        score = scores_of(sketches, self.by, missing=float("nan"), lowest=self.lowest)
        found = select.repr_filter(every, score, count, threshold=self.similarity)
        code = np.where(every.lengths > 0, np.where(found.partner >= 0, 0, 1), 2)
        code[found.chosen] = -1
        reasons = (
            f"cosine above {self.similarity:g} with a better row",
            f"not among the {amount_of(self.count, self.share)} chosen",
            NO_TEXT,
        )
        return Verdicts(code, reasons, score=found.cosine, partner=found.partner)
