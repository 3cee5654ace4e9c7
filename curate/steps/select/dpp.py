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

    Greedy MAP inference: each choice makes the determinant of the kept rows' kernel largest, that
    of their cosines times their qualities, the score of the step `by` (not negative; a row without
    one has the lowest), else 1. It can keep as many rows as the vectors have dimensions (384 with
    the default encoder) and leaves the rest of the `count` empty. `count` rows are kept, or `share`
    of them (rounded down, at least one row); without both, all. A dropped row names the closest
    kept one and their cosine, which is the score; rows without a text are dropped once there is an
    amount.
    """

    by: str | None = None

    source: ClassVar[str] = "Chen, Zhang and Zhou 2018, arXiv 1709.05135, algorithm 1"

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Choose greedily, the row that adds most to the volume first."""
        from curate import select
        from curate.select.verdicts import scores_of

        quality = None if self.by is None else scores_of(sketches, self.by)
        return select.dpp(every, count, quality=quality)
