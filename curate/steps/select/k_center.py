"""Keep rows so that every dropped row has a kept one near it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class KCenter(Choice):
    """Keep rows spread so widely that every dropped one has a kept one near it.

    Greedy k-center over the vectors that `encoder` makes of the texts: first the row closest to the
    mean direction, then always the row farthest from all kept ones. It picks outliers: filter
    first. `count` is the number of rows to keep. `share` is the share to keep instead (rounded
    down, at least one row); without both, all rows are kept. A dropped row names the closest kept
    one, and their cosine is the score; rows without a text are dropped if there is a number.
    """

    source: ClassVar[str] = "Sener and Savarese 2018, arXiv 1708.00489, sec. 4; Gonzalez 1985"

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Choose greedily, the farthest row first."""
        from curate import select

        return select.k_center(every, count)
