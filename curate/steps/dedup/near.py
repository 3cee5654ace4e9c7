"""Near-duplicates: rows whose texts share most of their word n-grams.

The search is exact: no pair of kept rows reaches the threshold, and every dropped row names a kept
one that does. It costs 8 bytes per distinct n-gram of a row in mapped files, and some 300 bytes per
row in memory while the step decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.row import Row
from curate.step import Verdicts, rule
from curate.steps.dedup._priority import Deduplicate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Near(Deduplicate):
    r"""Drop every row whose text is too similar to that of a row that is kept.

    Similarity is Jaccard's over the sets of `shingle` consecutive words: runs of `\w`, composed
    (NFC) and lower-cased; each Han, Kana, Hangul, Thai, Lao, Khmer or Burmese character is a word.
    A text with fewer words counts as one shingle, and a text without any takes no part; rows whose
    tool calls or media differ are never alike, nor are whole rows that offer other tools. Rows are
    walked by `keep`: in source order, the longest text first, or by the score of the step `by`
    (highest first unless `lowest`); ties keep source order. A row is dropped if and only if a row
    kept before it reaches `similarity`; the verdict names the most similar of them, the first one
    on a tie, and their exact similarity. With `against`, a dataset (a path, as of an input) or a
    finished run (its kept rows), rows that reach `similarity` to one of its rows are dropped first,
    and the verdict names its record.
    """

    shingle: int = 3
    similarity: float = rule(0.8)

    version: ClassVar[int] = 3
    # Broder, "On the resemblance and containment of documents", 1997.
    source: ClassVar[str] = "https://doi.org/10.1109/SEQUEN.1997.666900"
    compared: ClassVar[tuple[str, str]] = ("shingles", "list<uint64>")

    def check(self) -> None:
        """Refuse an impossible threshold, an empty shingle, and `keep: best` without a score."""
        super().check()
        from curate.kernels.sets.jaccard import threshold_of

        threshold_of(self.similarity)
        if self.shingle < 1:
            raise ValueError(f"shingle is {self.shingle}; it must be at least 1 word")

    def of_row(self, row: Row) -> np.ndarray:
        """Hash the shingles of one row."""
        from curate.kernels.sets.shingles import shingle_set

        return shingle_set(row.text(self.on), self.shingle, row.attached(self.on))

    def of_chunk(self, chunk: Chunk) -> pa.Array | None:
        """Hash the shingles of a large chunk in one compiled pass."""
        if not chunk.large:
            return None
        from curate.kernels.sets.shingles_compiled import shingle_column

        return shingle_column(chunk.texts(self.on), self.shingle, chunk.attached(self.on))

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Walk the rows by priority; drop each one that resembles a kept one."""
        import numpy as np

        from curate.kernels.arrays.duplicates import not_leaked, with_leaks
        from curate.kernels.sets.jaccard import nearest_kept
        from curate.kernels.sets.jaccard_against import closest_other

        count, sets = len(positions), sketches.column("shingles")
        order = self.walk_order(sketches.slice(0, count))
        alone = count == sketches.num_rows
        leaked = None if alone else closest_other(sets, count, self.similarity)
        order = not_leaked(order, leaked)
        nearest = nearest_kept(sets.slice(0, count), order, self.similarity)
        found = Verdicts(
            code=np.where(nearest.partner >= 0, 0, -1),
            reasons=("near duplicate",),
            score=nearest.similarity,
            partner=nearest.partner,
        )
        if leaked is None:
            return found
        return with_leaks(found, leaked, sketches, f"near duplicate of {self.against}")
