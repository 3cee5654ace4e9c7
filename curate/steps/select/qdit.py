"""Keep good rows that stand for all others: quality and diversity together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.step import rule
from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class Qdit(Choice):
    """Keep good rows that represent all others (quality-diversity instruction tuning).

    Each choice maximises (1 - `alpha`) times its gain in facility location, divided by the number
    of rows, plus `alpha` times its quality. `by` is the label of the step whose score is the
    quality, rescaled to 0 to 1 between the worst and the best; a row without a score has the worst.
    With `lowest`, the lowest score is best. `neighbours` is that of `facility_location`. `count` is
    the number of rows to keep. `share` is the share to keep instead (rounded down, at least one
    row); without both, all rows are kept. A dropped row names the closest kept one, and their
    cosine is the score; rows without a text are dropped if there is a number.
    """

    by: str | None = None
    lowest: bool = rule(False)
    alpha: float = 0.7
    neighbours: int | None = 64

    source: ClassVar[str] = "Bukharin et al. 2024 (QDIT), arXiv 2311.14736, section 3"

    def check(self) -> None:
        """Reject a step without a quality, two amounts, and what alpha cannot be."""
        if not self.by:
            raise ValueError("by must name an earlier step whose score is the quality")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is from 0 (diversity) to 1 (quality), not {self.alpha}")
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours is at least 1 (a row itself), not {self.neighbours}")
        super().check()

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Choose greedily by the weighed sum of gain and quality."""
        from curate import select
        from curate.select.verdicts import scores_of

        quality = scores_of(sketches, self.by, lowest=self.lowest)
        return select.qdit(every, quality, count, alpha=self.alpha, neighbours=self.neighbours)
