"""Keep rows whose text does not repeat itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.repetition import LIMITS, repeated_shares, score_of
from curate.row import On, Row
from curate.step import Filter, Scored, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Repetition(Filter):
    """Drop rows whose text repeats lines, paragraphs or n-grams beyond Gopher's limits.

    Thirteen shares are measured: duplicate lines and paragraphs (by number and by characters), the
    most frequent 2- to 4-gram and duplicate 5- to 10-grams (by characters). The score is the
    largest share in units of its limit, rounded up to thousandths, so that 1 is the paper's limit.
    Rows above `max` (1) are dropped. A score above 1 comes with its shares. Below `min_words` (50,
    where Gopher's own length rule begins) only 5- to 10-grams count. Lists and code naturally
    repeat lines: raise `max` for them.
    """

    on: On = "response"
    min_words: int = 50
    max: float | None = rule(1.0)

    source: ClassVar[str] = "Rae et al. 2021 (Gopher), arXiv 2112.11446, A1.1, table A1"

    def check(self) -> None:
        """Reject limits below nothing."""
        if self.min_words < 0 or (self.max is not None and self.max < 0):
            raise ValueError("min_words and max must not be negative")

    def score(self, row: Row) -> Scored:
        """Measure the thirteen shares."""
        shares = repeated_shares(row.text(self.on), self.min_words)
        value = score_of(shares)
        return Scored(value, _beyond(shares) if value > 1 else None)

    def score_many(self, chunk: Chunk) -> Scores:
        """Measure in one compiled pass."""
        import numpy as np

        from curate.kernels.text.repetition_compiled import repetition_of

        values, shares = repetition_of(chunk, self.on, self.min_words)
        beyond = np.flatnonzero(values > 1).tolist()
        if not beyond:
            return Scores(values)
        details: list[Mapping[str, float] | None] = [None] * len(chunk)
        for index in beyond:
            details[index] = _beyond(dict(zip(LIMITS, shares[index].tolist(), strict=True)))
        return Scores(values, details)

    def keep(self, score: float | None) -> str | None:
        """Compare the score with `max`."""
        if score is None or self.max is None or score <= self.max:
            return None
        return "repeats itself" if self.max == 1 else f"repeats itself beyond {self.max:g} limits"


def _beyond(shares: Mapping[str, float]) -> dict[str, float]:
    """Return the shares above their limits, as the ledger shows them."""
    return {name: round(share, 3) for name, share in shares.items() if share > LIMITS[name]}
