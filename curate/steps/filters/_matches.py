"""Filters whose score is the number of matches of one search: the row form and the column form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.patterns import count_matches
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk
    from curate.kernels.text.patterns import PatternSearch


@dataclass(frozen=True, kw_only=True)
class Matches(Filter):
    """Score the number of matches that `search` finds in a row's text."""

    on: On = "response"

    def search(self) -> PatternSearch:
        """Return the compiled search."""
        raise NotImplementedError

    def score(self, row: Row) -> float:
        """Count the matches."""
        return float(self.search().count(row.text(self.on)))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count with RE2 where it agrees with Python."""
        return Scores(count_matches(chunk, self.on, self.search()).astype("float64"))


@dataclass(frozen=True, kw_only=True)
class ListedPhrases(Matches):
    """Drop rows whose text holds more than `max` phrases of a list in `kernels/phrases.json`."""

    more: tuple[str, ...] = ()
    max: int | None = rule(0)

    reason: ClassVar[str] = ""

    def check(self) -> None:
        """Reject an empty phrase."""
        if any(not phrase.strip() for phrase in self.more):
            raise ValueError("more holds an empty phrase: it would match everywhere; remove it")

    def search(self) -> PatternSearch:
        """Return the search for the listed phrases and `more`; the list is named like the step."""
        from curate.kernels.text.phrase_lists import listed_search

        return listed_search(self.name, self.more)

    def keep(self, score: float | None) -> str | None:
        """Compare the number of phrases with `max`."""
        return None if score is None or self.max is None or score <= self.max else self.reason
