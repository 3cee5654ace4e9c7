"""Keep the best rows of every cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from curate.step import rule
from curate.steps.select._choice import Choice

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.vectors.unit_vectors import UnitVectors


@dataclass(frozen=True, kw_only=True)
class Cluster(Choice):
    """Keep the best rows of every cluster, so that each topic gets its share.

    The vectors that `encoder` makes of the texts form at most `clusters` groups (spherical
    k-means). `seed` draws the start of k-means. `quota` distributes the places over groups, in
    proportion to their rows (Sainte-Laguë), or `uniform`, the same number to each as far as it has
    rows. `by` is the label of the step whose score decides within a group, highest first; without
    it, the cosine with the centre decides. With `lowest`, the lowest score comes first. `count` is
    the number of rows to keep. `share` is the share to keep instead (rounded down, at least one
    row); without both, all rows are kept. A dropped row names the closest kept one, and their
    cosine is the score; rows without a text are dropped if there is a number.
    """

    by: str | None = None
    lowest: bool = rule(False)
    clusters: int = 100
    seed: int = 0
    quota: Literal["proportional", "uniform"] = rule("proportional")

    source: ClassVar[str] = (
        "Dhillon and Modha 2001, doi 10.1023/A:1007612920971; quotas: common practice"
    )

    def check(self) -> None:
        """Reject two amounts, and no clusters."""
        if self.clusters < 1:
            raise ValueError(f"clusters is at least 1, not {self.clusters}")
        if self.seed < 0:
            raise ValueError(f"seed is a number of at least 0, not {self.seed}")
        if self.lowest and not self.by:
            raise ValueError("lowest needs a score; by must name the step that gives it")
        super().check()

    def choose(self, every: UnitVectors, sketches: pa.Table, count: int) -> np.ndarray:
        """Give places to clusters, and choose the best rows of each."""
        from curate import select
        from curate.select.verdicts import scores_of

        score = None
        if self.by is not None:
            score = scores_of(sketches, self.by, missing=float("nan"), lowest=self.lowest)
        return select.cluster(
            every, count, groups=self.clusters, score=score, quota=self.quota, seed=self.seed
        )
