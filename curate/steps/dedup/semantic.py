"""Semantic duplicates: rows whose texts mean nearly the same, by the cosine of their vectors.

The search is exact up to `exact_up_to` rows: no pair of kept rows reaches the threshold, and every
dropped row names a kept one that does, with their cosine in float64. It costs a product of all
pairs of distinct vectors (52,000 of 384 numbers: some seconds on two cores), and 24 bytes for each
pair down to `floor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from curate.row import Row
from curate.step import EMBEDDING, Verdicts, rule
from curate.steps.dedup._priority import Deduplicate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.step import Memo


@dataclass(frozen=True, kw_only=True)
class Semantic(Deduplicate):
    """Drop every row whose text means nearly the same as that of a row that is kept.

    Similarity is the cosine of the vectors that `encoder` makes of the texts. `keep` sets the order
    in which rows are visited: source order, the longest text first (in characters), or the best
    score of the step `by` first; ties keep source order. `by` is the label of an earlier step. With
    `lowest`, its lowest score is best. A row is dropped if and only if its cosine with a row kept
    before it is at least `similarity`; the verdict names the closest of them (the first on a tie)
    and their cosine. Empty texts are never compared. Pairs down to the cosine `floor` are stored,
    so that any `similarity` at or above it is decided without another search. Above `exact_up_to`
    distinct vectors, an index finds nearly all pairs, and the report shows its recall, measured by
    an exact search on a sample. `prefilter` selects the arithmetic that proposes candidates for
    float64 to decide on, and changes no verdict: `float32` is FAISS; `auto` uses a GPU, or bfloat16
    if the processor supports it, else FAISS. `against` is a dataset (any path that an input may be)
    or a finished run (its kept rows): rows whose cosine with one of its rows is at least
    `similarity` are dropped first, and the verdict names that record.
    """

    encoder: str | None = None
    floor: float = 0.8
    exact_up_to: int = 200_000
    similarity: float = rule(0.9)
    prefilter: Literal["auto", "float32", "bfloat16"] = rule("auto")

    extra: ClassVar[str | None] = "vectors"
    packages: ClassVar[tuple[str, ...]] = ("faiss",)
    source: ClassVar[str] = "common practice; compare Abbas et al. 2023 (SemDeDup), 2303.09540"
    compared: ClassVar[tuple[str, str]] = ("vector", EMBEDDING)

    def check(self) -> None:
        """Refuse an impossible cosine, and `keep: best` without a score."""
        super().check()
        for name in ("similarity", "floor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; a cosine must be above 0 and at most 1"
                )

    def of_row(self, row: Row) -> str:
        """Name the text of one row that becomes a vector."""
        return row.text(self.on)

    def of_chunk(self, chunk: Chunk) -> pa.Array:
        """Name the texts of a chunk."""
        return chunk.texts(self.on)

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Walk the rows by priority; drop each one that is close to a kept one."""
        return self.decide_with(positions, sketches, lambda _, find: find())

    def decide_with(self, positions: np.ndarray, sketches: pa.Table, memo: Memo) -> Verdicts:
        """Return what `decide` does, with neighbours from the memo."""
        import numpy as np

        from curate.kernels.arrays.duplicates import with_leaks
        from curate.kernels.vectors.dedup import PairSearch, nearest_kept
        from curate.kernels.vectors.unit_vectors import UnitVectors

        every = UnitVectors.of_column(sketches, "vector")
        search = PairSearch(
            self.similarity, self.floor, memo, self.exact_up_to, prefilter=self.prefilter
        )
        kept = nearest_kept(
            every,
            self.walk_order(sketches.slice(0, len(positions))),
            search,
        )
        found = Verdicts(
            code=np.where(kept.nearest.partner >= 0, 0, -1),
            reasons=("semantic duplicate",),
            score=kept.nearest.similarity,
            partner=kept.nearest.partner,
            remarks=kept.remarks,
        )
        if kept.leaked is None:
            return found
        return with_leaks(found, kept.leaked, sketches, f"semantic duplicate of {self.against}")
