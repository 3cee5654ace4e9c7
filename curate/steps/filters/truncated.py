"""Keep rows whose answer was not cut off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.words import words
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk

_TAIL = 400
_FENCE = re.compile(r"^[ \t]*```", re.M)
_HANGING = re.compile(
    r"(?:[,(\[{、,]|(?<!-)-|\b(?:and|or|but|the|a|an|of|to|in|for|with|that|which|is|are|as|by|from))$",
    re.IGNORECASE,
)
_REASONS = {3: "code fence left open", 2: "ends inside a sentence", 1: "ends without punctuation"}


@dataclass(frozen=True, kw_only=True)
class Truncated(Filter):
    """Drop rows whose text looks cut off.

    The score grows with certainty: 3, a code fence is left open; 2, the text ends with a comma, an
    open bracket or a word such as "the"; 1, its last line has `min_words` words or more and ends
    with a letter; 0, none of these. Rows with a score of `at_least` (2) or more are dropped:
    titles, lists and code may properly end without punctuation.
    """

    on: On = "response"
    min_words: int = 12
    at_least: int | None = rule(2)

    source: ClassVar[str] = "common practice; the signs are this project's own rule"

    def check(self) -> None:
        """Reject scores that do not exist."""
        if self.at_least is not None and not 1 <= self.at_least <= 3:
            raise ValueError(f"at_least is 1, 2 or 3, not {self.at_least}")

    def score(self, row: Row) -> float:
        """Look for signs of a cut."""
        return float(self._sign(row.text(self.on)))

    def _sign(self, text: str) -> int:
        if len(_FENCE.findall(text)) % 2:
            return 3
        last = text.rstrip()[-_TAIL:].rpartition("\n")[2]
        if not last or last.endswith("```"):
            return 0
        if _HANGING.search(last) and len(words(last)) > 1:
            return 2
        return int(last[-1].isalpha() and len(words(last)) >= self.min_words)

    def score_many(self, chunk: Chunk) -> Scores:
        """Look at the texts' ends alone, and at whole texts only where a fence is."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = chunk.texts(self.on)
        fenced = np.asarray(pc.match_substring(texts, "```"))
        complete = np.asarray(pc.match_substring_regex(texts, r"[.!?:;\")\]}。!?0-9]\z"))
        where = np.flatnonzero(fenced | ~complete)
        values = np.zeros(len(texts))
        values[where] = [self._sign(text) for text in texts.take(pa.array(where)).to_pylist()]
        return Scores(values)

    def keep(self, score: float | None) -> str | None:
        """Name the sign, if it is certain enough."""
        if score is None or self.at_least is None or score < self.at_least:
            return None
        return _REASONS[int(score)]
