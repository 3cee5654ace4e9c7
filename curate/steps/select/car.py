"""Keep the best rows of all, and the best of every cluster (CaR)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.step import Verdicts, rule
from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Car(Choice):
    """Keep the best rows overall, plus the best rows of every cluster (CaR).

    Quality is the score of the step `by`; the highest is best. With `lowest`, the lowest is best.
    `count` is the number of best rows overall (the paper uses 1,000), with ties in source order.
    `share` is their share instead, with `count: null`. `per_cluster` is the number of best rows of
    each cluster that are added, so that no topic is left out. `clusters` is the number of clusters
    of the vectors that `encoder` makes (spherical k-means), by default floor(sqrt(n / 2)) for n
    rows with a text; the authors use plain k-means on vectors reduced by PCA, so their clusters
    differ. `seed` draws the start of k-means. A dropped row names the closest kept one, and their
    cosine is the score; for a kept row, the ledger records its cluster and whether it was kept only
    for that. Rows without a text are in no cluster, and rows without a score come last.
    """

    by: str | None = None
    lowest: bool = rule(False)
    count: int | None = rule(1000)
    per_cluster: int = rule(1)
    clusters: int | None = None
    seed: int = 0

    source: ClassVar[str] = "Ge et al. 2024 (CaR), arXiv 2402.18191, section 3"

    def check(self) -> None:
        """Reject a step without a score, two amounts, and no clusters."""
        if not self.by:
            raise ValueError("by must name an earlier step whose score says which rows are best")
        if self.clusters is not None and self.clusters < 1:
            raise ValueError(f"clusters is at least 1, not {self.clusters}")
        if self.per_cluster < 0 or self.seed < 0:
            raise ValueError("per_cluster and seed are numbers of at least 0")
        super().check()

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Take the best rows, then the best of each cluster."""
        import numpy as np
        import pyarrow as pa

        from curate import select
        from curate.kernels.arrays.groups import allowed_of, first_of_groups
        from curate.kernels.vectors.unit_vectors import UnitVectors
        from curate.select.verdicts import NO_TEXT, amount_of, scores_of

        score = scores_of(sketches, self.by, missing=float("nan"), lowest=self.lowest)
        every = UnitVectors.of_column(sketches, "vector")
        known = every.lengths > 0
        best = np.zeros(len(score), np.bool_)
        order = np.argsort(-score, kind="stable")
        best[order[: allowed_of(len(score), self.count, self.share)]] = True
        number = self.clusters or max(1, math.isqrt(int(np.count_nonzero(known)) // 2))
        of = np.full(len(score), -1)
        leading = np.zeros(len(score), np.bool_)
        if known.any() and self.per_cluster:
            of, _ = select.clusters(every, number, seed=self.seed)
            names = pa.chunked_array([pa.array(of).cast(pa.string())])
            leading = first_of_groups(names, -score, self.per_cluster, None) & (of >= 0)
        kept = best | leading
        nearest = select.nearest_chosen(every, np.flatnonzero(kept & known))
        code = np.where(kept, -1, np.where(known, 0, 1))
        added = int(np.count_nonzero(leading & ~best))
        found = len(set(of[of >= 0].tolist()))
        amount = amount_of(self.count, self.share)
        return Verdicts(
            code,
            (f"neither among the best {amount} nor the best of its cluster", NO_TEXT),
            score=nearest.cosine,
            partner=np.where(code >= 0, nearest.row, -1),
            details=[
                {"cluster": int(of[row]), "by_cluster": bool(leading[row] and not best[row])}
                if kept[row]
                else None
                for row in range(len(score))
            ],
            remarks=(f"{found:,} clusters; {added:,} rows are kept for their cluster alone",),
            figures={"clusters": float(found), "for their cluster alone": float(added)},
        )
