"""Keep rows with few web addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.patterns import count_matches, regex_search
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk

_ADDRESS = r"(?:https?|ftp)://[^\s<>]+|www\.[a-z0-9-]+\.[a-z]+[^\s<>]*"


@dataclass(frozen=True, kw_only=True)
class Url(Filter):
    """Drop rows whose text holds too many web addresses.

    The score is the number of addresses (`http://`, `https://`, `ftp://` or `www.`). `max` is unset
    by default; 0 keeps only texts without any: a small model cannot know that an address exists.
    """

    on: On = "response"
    max: int | None = rule(None)

    source: ClassVar[str] = "Zhou et al. 2023 (LIMA), arXiv 2305.11206, section 2.1: links removed"

    def score(self, row: Row) -> float:
        """Count the addresses."""
        return float(regex_search(_ADDRESS, ignore_case=True).count(row.text(self.on)))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count with RE2 where it agrees with Python."""
        search = regex_search(_ADDRESS, ignore_case=True)
        return Scores(count_matches(chunk, self.on, search).astype("float64"))

    def keep(self, score: float | None) -> str | None:
        """Compare the number of addresses with `max`."""
        if score is None or self.max is None or score <= self.max:
            return None
        return "web address found" if self.max == 0 else f"more than {self.max} web addresses"
