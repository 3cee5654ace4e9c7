"""Keep the rows whose vectors span the largest volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class Dpp(Choice):
    """Keep the rows whose vectors span the largest volume (a determinantal point process).

    Greedy MAP inference: each choice maximises the determinant of the kept rows' kernel, that is,
    of their cosines times their qualities. `by` is the label of the step whose score is the quality
    (not negative; a row without one has the lowest); without it, the quality is 1. A factor cannot
    be negated: if the lowest score is best, turn it into ranks with `ensemble` first. At most as
    many rows are kept as the vectors have dimensions (384 for the default encoder), even if `count`
    is larger. `count` is the number of rows to keep. `share` is the share to keep instead (rounded
    down, at least one row); without both, all rows are kept. A dropped row names the closest kept
    one, and their cosine is the score; rows without a text are dropped if there is a number.
    """

    by: str | None = None

    source: ClassVar[str] = "Chen, Zhang and Zhou 2018, arXiv 1709.05135, algorithm 1"

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Choose greedily, the row that adds most to the volume first."""
        from curate import select
        from curate.select.verdicts import scores_of

        quality = None if self.by is None else scores_of(sketches, self.by)
        return select.dpp(every, count, quality=quality)
