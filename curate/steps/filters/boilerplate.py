"""Keep rows without a model's set phrases."""

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
class Boilerplate(Filter):
    """Drop rows whose answer speaks of being a model, or in set phrases.

    The score is the number of set phrases such as "as an AI language model" or "I hope this helps"
    (a list of some forty, English and Chinese, in `kernels/phrases.json`; `more` adds to it).
    Above `max` (0) a row is dropped.
    """

    on: On = "response"
    more: tuple[str, ...] = ()
    max: int | None = rule(0)

    source: ClassVar[str] = (
        "phrase lists of the kind used to clean ShareGPT (Chiang et al. 2023, Vicuna)"
    )

    def check(self) -> None:
        """Reject an empty phrase."""
        if any(not phrase.strip() for phrase in self.more):
            raise ValueError("more holds an empty phrase: it would match everywhere; remove it")

    def score(self, row: Row) -> float:
        """Count the phrases."""
        return float(listed_search("boilerplate", self.more).count(row.text(self.on)))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count with RE2 where it agrees with Python."""
        search = listed_search("boilerplate", self.more)
        return Scores(count_matches(chunk, self.on, search).astype("float64"))

    def keep(self, score: float | None) -> str | None:
        """Compare the number of phrases with `max`."""
        return (
            None
            if score is None or self.max is None or score <= self.max
            else "set phrases of a model"
        )
