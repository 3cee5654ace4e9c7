"""Keep rows by the phrases, or the regular expression, that their text holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.kernels.text.patterns import PatternSearch, phrase_search, regex_search
from curate.row import On
from curate.step import rule
from curate.steps.filters._matches import Matches


@dataclass(frozen=True, kw_only=True)
class Keywords(Matches):
    """Drop rows whose text contains given phrases, or lacks them.

    Give either `phrases` (a space in one matches any white space) or a pattern. `pattern` is a
    regular expression in Python's syntax; if it takes more than two seconds on a text, the run
    ends. The score is the number of matches. Rows with more than `max` matches are dropped, by
    default with any (`max: 0`). To keep only rows that match, set `max: null` and `min: 1`.
    `whole_words` applies to phrases: "class" then does not match "classes".
    """

    on: On = "whole"
    phrases: tuple[str, ...] = ()
    pattern: str | None = None
    whole_words: bool = True
    ignore_case: bool = True
    max: int | None = rule(0)
    min: int | None = rule(None)

    version: ClassVar[int] = 2
    source: ClassVar[str] = "common practice"

    def check(self) -> None:
        """Reject a step that looks for nothing, for two things, or for what nothing can match."""
        if bool(self.phrases) == bool(self.pattern):
            raise ValueError("give either phrases or pattern, and something in it")
        if any(not phrase.strip() for phrase in self.phrases):
            raise ValueError("a phrase is empty: it would match everywhere; remove it")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): no text can pass")
        self.search()

    def search(self) -> PatternSearch:
        """Return the compiled search."""
        if self.pattern is not None:
            return regex_search(self.pattern, ignore_case=self.ignore_case)
        return phrase_search(
            self.phrases, whole_words=self.whole_words, ignore_case=self.ignore_case
        )

    def keep(self, score: float | None) -> str | None:
        """Compare the number of matches with the limits."""
        what = "keyword" if self.phrases else "pattern"
        if score is not None and self.max is not None and score > self.max:
            return f"{what} found" if self.max == 0 else f"{what} found more than {self.max} times"
        if score is not None and self.min is not None and score < self.min:
            return (
                f"{what} missing" if self.min == 1 else f"{what} found fewer than {self.min} times"
            )
        return None
