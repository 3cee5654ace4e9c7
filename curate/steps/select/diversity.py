"""Measure how diverse the rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import On, Row
from curate.step import Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Diversity(Whole):
    """Measure how diverse the rows are, for the report and for `curate compare`.

    No row is dropped. `sample` is the number of rows to measure (all, if there are fewer). `seed`
    draws them. By the vectors that `encoder` makes of the texts, the figures are: the mean distance
    (1 - cosine) to the nearest other row, which is the score; the Vendi score, the effective number
    of different rows; and the evenness over clusters (1: even). `clusters` is the number of these
    clusters. All depend on the number of rows: compare only samples of one size. Empty texts are
    ignored.
    """

    on: On = "whole"
    encoder: str | None = None
    sample: int = 2000
    clusters: int = 50
    seed: int = 0

    source: ClassVar[str] = (
        "Friedman and Dieng 2023 (Vendi score), arXiv 2210.02410, definition 3.1"
    )

    def check(self) -> None:
        """Refuse an empty sample and no clusters."""
        for name, least in (("sample", 2), ("clusters", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)}")

    def sketch_types(self) -> dict[str, str]:
        """Return the vector."""
        return {"vector": "embedding"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector."""
        return {"vector": row.text(self.on)}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk."""
        return {"vector": chunk.texts(self.on)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Draw the sample and measure it."""
        import numpy as np

        from curate import select
        from curate.chunk import vectors

        every = vectors(sketches, "vector")
        able = np.array([bool(row.any()) for row in every], np.bool_)
        rows = np.flatnonzero(able)
        if len(rows) > self.sample:
            random = np.random.default_rng(self.seed)
            rows = np.sort(random.choice(rows, self.sample, replace=False))
        score = np.full(len(every), np.nan)
        remarks: tuple[str, ...] = ()
        if len(rows) > 1:
            some = every[rows]
            score[rows] = select.nearest_distance(some)
            of, _ = select.clusters(some, self.clusters, seed=self.seed)
            remarks = (
                f"mean distance to the nearest row: {score[rows].mean():.4f}",
                f"Vendi score: {select.vendi_score(some):.1f}",
                f"evenness of {self.clusters} clusters: {select.cluster_entropy(of):.3f}",
                f"rows measured: {len(rows):,} of {len(every):,}",
            )
        return Verdicts(np.full(len(every), -1), score=score, remarks=remarks)
