"""Keep rows with few web addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.kernels.text.patterns import PatternSearch, regex_search
from curate.step import rule
from curate.steps.filters._matches import Matches

_ADDRESS = r"(?:https?|ftp)://[^\s<>]+|www\.[a-z0-9-]+\.[a-z]+[^\s<>]*"


@dataclass(frozen=True, kw_only=True)
class Url(Matches):
    """Drop rows whose text contains too many web addresses.

    The score is the number of addresses (`http://`, `https://`, `ftp://` or `www.`). Rows with more
    than `max` are dropped; it is unset by default. `max: 0` keeps only texts without addresses: a
    small model cannot know whether an address exists.
    """

    max: int | None = rule(None)

    version: ClassVar[int] = 2
    source: ClassVar[str] = "Zhou et al. 2023 (LIMA), arXiv 2305.11206, section 2.1: links removed"

    def search(self) -> PatternSearch:
        """Return the search for addresses."""
        return regex_search(_ADDRESS, ignore_case=True, own=True)

    def keep(self, score: float | None) -> str | None:
        """Compare the number of addresses with `max`."""
        if score is None or self.max is None or score <= self.max:
            return None
        return "web address found" if self.max == 0 else f"more than {self.max} web addresses"
