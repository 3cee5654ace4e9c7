"""Exact duplicates: equal 128-bit hashes of the (normalised) text.

A hash stands for its text: among a billion different texts the chance of any two sharing one is
below 2e-21, so no text is compared again. While the step decides, a row takes 50 to 67 bytes where
the first of equals stays (a table that doubles when it is full, and ids), else 32 and its id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.row import Row
from curate.step import Verdicts
from curate.steps.dedup._priority import Deduplicate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.kernels.text.normalize import Ignored


@dataclass(frozen=True, kw_only=True)
class Exact(Deduplicate):
    """Drop every row whose text equals that of a row that is kept.

    `keep` selects the row to keep among equal ones: the first, the longest (in characters before
    normalisation) or the best by the score of the step `by`; ties go to the earlier row. `by` is
    the label of an earlier step; the highest score is best. With `lowest`, the lowest score is
    best. Rows with an empty text are never compared. `ignore_case`, `ignore_space` and
    `ignore_punctuation` ignore these differences between two texts. How accents are stored never
    matters (NFC); tool calls and media always do, and for whole rows also the offered tools.
    `against` is a dataset (any path that an input may be) or a finished run (its kept rows): rows
    that equal one of its rows are dropped first, and the verdict names that record.
    """

    ignore_case: bool = False
    ignore_space: bool = False
    ignore_punctuation: bool = False

    version: ClassVar[int] = 3
    source: ClassVar[str] = "common practice"
    compared: ClassVar[tuple[str, str]] = ("hash", "binary16")

    @property
    def _ignored(self) -> Ignored:
        from curate.kernels.text.normalize import Ignored

        return Ignored(self.ignore_case, self.ignore_space, self.ignore_punctuation)

    def of_row(self, row: Row) -> bytes | None:
        """Hash the text of one row."""
        from curate.kernels.text.normalize import normalise, text_digest

        return text_digest(normalise(row.text(self.on), self._ignored), row.attached(self.on))

    def of_chunk(self, chunk: Chunk) -> pa.Array:
        """Hash the texts of a chunk."""
        from curate.kernels.text.normalize import normalise_column, text_digests

        texts = normalise_column(chunk.texts(self.on), self._ignored)
        return text_digests(texts, chunk.attached(self.on))

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Keep the most wanted row of every group of equals."""
        import numpy as np

        from curate.kernels.arrays.duplicates import NearestKept, first_of_equals, with_leaks

        count = len(positions)
        order = self.walk_order(sketches.slice(0, count))
        others = np.arange(count, sketches.num_rows)
        partner = first_of_equals(sketches.column("hash"), np.concatenate([others, order]))[:count]
        found = _verdicts(np.where(partner < count, partner, -1))
        if count == sketches.num_rows:
            return found
        elsewhere = partner >= count
        leaked = NearestKept(np.where(elsewhere, partner, -1), np.where(elsewhere, 1.0, np.nan))
        return with_leaks(found, leaked, sketches, f"exact duplicate of {self.against}")

    def decider(self) -> _FirstOnes | None:
        """Decide on rows as they come where the first one stays."""
        return _FirstOnes() if self.keep == "first" and self.against is None else None


class _FirstOnes:
    """Keep the first row of every group of equals, as they come."""

    def __init__(self) -> None:
        from curate.kernels.arrays.duplicates import EqualsSoFar

        self._equals = EqualsSoFar()

    def decide(self, sketches: pa.Table) -> Verdicts:
        """Drop those of the next rows whose equal has come before."""
        from curate.chunk import one_array

        return _verdicts(self._equals.first_of(one_array(sketches.column("hash"))))


def _verdicts(partner: np.ndarray) -> Verdicts:
    """Drop whoever has a partner."""
    import numpy as np

    dropped = partner >= 0
    return Verdicts(
        code=np.where(dropped, 0, -1),
        reasons=("exact duplicate",),
        score=np.where(dropped, 1.0, np.nan),
        partner=partner,
    )
