"""Keep the best rows of every cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.kernels.groups import check_amount
from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Cluster(Whole):
    """Keep the best rows of every cluster, so that each topic has its share.

    The vectors that `encoder` makes of the texts form at most `clusters` groups (spherical k-means,
    drawn from `seed`). Places go to groups one by one, in proportion to their rows (Sainte-Lague),
    or the same number to each (`quota: uniform`) as far as it has rows; inside, the score of the
    step `by` decides, highest first, or without it the cosine with the centre. `count` rows are
    kept, or `share` of them (rounded down, at least one row); without both, all. A dropped row
    names the closest kept one and their cosine, which is the score; rows without a text are dropped
    once there is an amount.
    """

    on: On = "whole"
    encoder: str | None = None
    by: str | None = None
    clusters: int = 100
    seed: int = 0
    quota: Literal["proportional", "uniform"] = rule("proportional")
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = (
        "Dhillon and Modha 2001, doi 10.1023/A:1007612920971; quotas: common practice"
    )

    def check(self) -> None:
        """Reject two amounts, and no clusters."""
        if self.clusters < 1:
            raise ValueError(f"clusters is at least 1, not {self.clusters}")
        if self.seed < 0:
            raise ValueError(f"seed is a number of at least 0, not {self.seed}")
        check_amount(self.count, self.share)

    def sketch_types(self) -> dict[str, str]:
        """Return the vector, and the score that `by` names."""
        return {"vector": "embedding", "score": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector."""
        from curate.select.verdicts import sketch_of

        return sketch_of(row, self.on, self.by)

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk."""
        from curate.select.verdicts import sketches_of

        return sketches_of(chunk, self.on, self.by)

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Choose, and name the closest kept row of each that is not chosen."""
        from curate import select
        from curate.select.verdicts import scores_of, verdicts_on

        def choose(every: Any, count: int) -> np.ndarray:
            score = None
            if self.by is not None:
                score = scores_of(sketches, self.by, missing=float("nan"))
            return select.cluster(
                every, count, groups=self.clusters, score=score, quota=self.quota, seed=self.seed
            )

        return verdicts_on(sketches, self.count, self.share, choose)
