"""Keep rows whose answer does not refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.patterns import count_matches
from curate.kernels.text.phrase_lists import listed_search
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Refusal(Filter):
    """Drop rows whose answer refuses to answer.

    The score is the number of refusing phrases (a list of some sixty, English and Chinese, in
    `kernels/phrases.json`; `more` adds to it). An answer that quotes a refusal counts too, and one
    that refuses in other words does not: a judge sees more. Above `max` (0) a row is dropped.
    """

    on: On = "response"
    more: tuple[str, ...] = ()
    max: int | None = rule(0)

    version: ClassVar[int] = 2
    source: ClassVar[str] = (
        "phrase lists of the kind used to clean ShareGPT (Chiang et al. 2023, Vicuna)"
    )

    def check(self) -> None:
        """Reject an empty phrase."""
        if any(not phrase.strip() for phrase in self.more):
            raise ValueError("more holds an empty phrase: it would match everywhere; remove it")

    def score(self, row: Row) -> float:
        """Count the phrases."""
        return float(listed_search("refusal", self.more).count(row.text(self.on)))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count with RE2 where it agrees with Python."""
        search = listed_search("refusal", self.more)
        return Scores(count_matches(chunk, self.on, search).astype("float64"))

    def keep(self, score: float | None) -> str | None:
        """Compare the number of phrases with `max`."""
        return (
            None if score is None or self.max is None or score <= self.max else "refuses to answer"
        )
