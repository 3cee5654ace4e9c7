"""Near-duplicates: rows whose texts share most of their word n-grams.

The search is exact: no pair of kept rows reaches the threshold, and every dropped row names a kept
one that does. A row costs 8 bytes per distinct n-gram in mapped files, and some 300 bytes in memory
while the step decides. Where both together would be more than 3 GiB, the rows are walked in
partitions of at most that, with the same verdicts (`kernels.sets.jaccard_partitioned`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from curate.row import Row
from curate.step import Readers, Verdicts, rule
from curate.steps.dedup._priority import Deduplicate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.kernels.arrays.duplicates import NearestKept


@dataclass(frozen=True, kw_only=True)
class Near(Deduplicate):
    r"""Drop every row whose text is too similar to that of a row that is kept.

    Similarity is the Jaccard similarity of the sets of `shingle` consecutive words. A word is a run
    of `\w`, in NFC and lower case; each Han, Kana, Hangul, Thai, Lao, Khmer or Burmese character is
    a word. A text with fewer words is one shingle, and a text without words is never compared. Rows
    with different tool calls or media are never duplicates, nor are whole rows that offer different
    tools. `keep` sets the order in which rows are visited: source order, the longest text first (in
    characters), or the best score of the step `by` first; ties keep source order. `by` is the label
    of an earlier step. With `lowest`, its lowest score is best. A row is dropped if and only if a
    row kept before it reaches `similarity`; the verdict names the most similar of them (the first
    on a tie) and their exact similarity. `against` is a dataset (any path that an input may be) or
    a finished run (its kept rows): rows that reach `similarity` to one of its rows are dropped
    first, and the verdict names that record. N-grams and their index take at most 3 GiB of memory:
    more rows are processed in partitions, with the same verdicts.
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
        from curate.kernels.arrays.duplicates import not_leaked, with_leaks
        from curate.kernels.sets.jaccard import nearest_kept
        from curate.kernels.sets.jaccard_against import closest_other

        count, sets = len(positions), sketches.column("shingles")
        order = self.walk_order(sketches.slice(0, count))
        alone = count == sketches.num_rows
        leaked = None if alone else closest_other(sets, count, self.similarity)
        order = not_leaked(order, leaked)
        found = _verdicts(nearest_kept(sets.slice(0, count), order, self.similarity))
        if leaked is None:
            return found
        return with_leaks(found, leaked, sketches, f"near duplicate of {self.against}")

    def decide_by_part(self, parts: Readers, others: Readers) -> Verdicts | None:
        """Walk the rows in partitions, where all together would take more than one of those may."""
        import numpy as np

        from curate.kernels.arrays.duplicates import not_leaked, origins_by_part, with_leaks
        from curate.kernels.sets.jaccard import threshold_of
        from curate.kernels.sets.jaccard_partitioned import (
            PARTITION_BYTES,
            closest_other_by_part,
            nearest_kept_by_partition,
            partition_cuts,
        )

        (sets, sizes), theirs = _sets_of(parts), _sets_of(others)
        of_all, threshold = np.concatenate(sizes), threshold_of(self.similarity)
        if not others and len(partition_cuts(of_all, threshold, PARTITION_BYTES)) <= 2:
            return None
        order, leaked = self.walk_order_by_part(parts), None
        if others:
            leaked = closest_other_by_part(sets, sizes, *theirs, self.similarity, PARTITION_BYTES)
        order = not_leaked(order, leaked)
        found = _verdicts(
            nearest_kept_by_partition(sets, sizes, order, self.similarity, PARTITION_BYTES)
        )
        if leaked is None:
            return found
        leaked, origins = origins_by_part(leaked, others)
        return with_leaks(found, leaked, origins, f"near duplicate of {self.against}")


def _sets_of(
    parts: Readers,
) -> tuple[Sequence[Callable[[], pa.ChunkedArray]], list[np.ndarray]]:
    """Return what reads the sets of each part, and how large those are."""
    import pyarrow.compute as pc

    def shingles(part: Callable[[], pa.Table]) -> pa.ChunkedArray:
        return part().column("shingles")

    sets = [partial(shingles, part) for part in parts]
    return sets, [pc.list_value_length(read()).to_numpy() for read in sets]


def _verdicts(nearest: NearestKept) -> Verdicts:
    """Drop whoever resembles a kept row."""
    import numpy as np

    return Verdicts(
        code=np.where(nearest.partner >= 0, 0, -1),
        reasons=("near duplicate",),
        score=nearest.similarity,
        partner=nearest.partner,
    )
