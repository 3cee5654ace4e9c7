"""SemDeDup, as its paper has it: semantic duplicates within clusters, chains included.

`semantic` compares with kept rows only, across the whole dataset; take this step to do what the
paper did. It costs k-means over the vectors, and a product of all pairs inside each cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.kernels.arrays.groups import draw_of
from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

# One cluster for so many rows where `clusters` is not given; the paper's 50,000 for LAION-440M
# (Abbas et al. 2023, section 4) are one for 8,800.
ROWS_PER_CLUSTER = 1000


@dataclass(frozen=True, kw_only=True)
class Semdedup(Whole):
    """Drop rows by the rule of SemDeDup: too close to an earlier row of their cluster.

    The vectors that `encoder` makes of the texts form `clusters` by spherical k-means (by default
    one per 1,000 rows). `seed` draws the rows at which k-means starts. `keep` orders the rows of a
    cluster by their distance to its centroid: the farthest first (`hard`, the paper's default), the
    closest first (`easy`) or in random order (`random`). A row is dropped if its largest cosine
    with any row before it, dropped or not, is above 1 - `epsilon`. The score is that cosine; the
    verdict names the kept row at the end of the chain. Duplicates in different clusters are not
    found; `semantic` finds those.
    """

    on: On = "whole"
    encoder: str | None = None
    clusters: int | None = None
    seed: int = 0
    epsilon: float = rule(0.1)
    keep: Literal["hard", "easy", "random"] = rule("hard")

    source: ClassVar[str] = "Abbas et al. 2023 (SemDeDup), arXiv 2303.09540"

    def check(self) -> None:
        """Refuse an impossible threshold and a number of clusters that is none."""
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon is {self.epsilon}; it must be above 0 and below 1")
        if self.clusters is not None and self.clusters < 1:
            raise ValueError(f"clusters is {self.clusters}; there must be at least 1")

    def sketch_types(self) -> dict[str, str]:
        """Return the vector and the row's draw."""
        return {"vector": "embedding", "draw": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row that becomes a vector, and draw."""
        return {"vector": row.text(self.on), "draw": draw_of(row.id, self.title, row.run_seed)}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk, and draw."""
        import pyarrow as pa

        ids = [row_id.hex() for row_id in chunk.column("id").to_pylist()]
        draws = [draw_of(row_id, self.title, chunk.run_seed) for row_id in ids]
        return {"vector": chunk.texts(self.on), "draw": pa.array(draws, pa.float64())}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Cluster the rows, order each cluster, and drop by the paper's rule."""
        import numpy as np

        from curate.kernels.vectors.semdedup import removed_in_clusters
        from curate.kernels.vectors.spherical_kmeans import spherical_clusters
        from curate.kernels.vectors.unit_vectors import UnitVectors

        own = UnitVectors.of_column(sketches, "vector")
        count = self.clusters or max(1, round(len(own) / ROWS_PER_CLUSTER))
        found = spherical_clusters(own, count, self.seed)
        order = {
            "hard": lambda: np.argsort(found.cosine, kind="stable"),
            "easy": lambda: np.argsort(-found.cosine, kind="stable"),
            "random": lambda: np.argsort(sketches.column("draw").to_numpy(), kind="stable"),
        }[self.keep]()
        removed = removed_in_clusters(own, found.cluster, order, self.epsilon)
        return Verdicts(
            code=np.where(removed.partner >= 0, 0, -1),
            reasons=("semantic duplicate in its cluster",),
            score=removed.cosine,
            partner=removed.partner,
            details=[
                {"cluster": cluster, "links": links} if links else None
                for cluster, links in zip(
                    found.cluster.tolist(), removed.links.tolist(), strict=True
                )
            ],
        )
