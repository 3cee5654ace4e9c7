"""Keep rows whose text is neither too short nor too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from curate.kernels.text.words import words
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Length(Filter):
    """Drop rows whose text is shorter or longer than the limits.

    The score is the length in `unit`s. A word is a run of characters without white space; a Chinese
    or Japanese character counts as a word. `min` and `max` are inclusive and unset by default:
    sensible limits depend on the data, and papers disagree.
    """

    on: On = "response"
    unit: Literal["words", "chars"] = "words"
    min: int | None = rule(None)
    max: int | None = rule(None)

    source: ClassVar[str] = "common practice"

    def check(self) -> None:
        """Reject limits that every text meets, or none."""
        for name in ("min", "max"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise ValueError(f"{name} is {limit}; a length is 0 or more")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): no text can pass")

    def score(self, row: Row) -> float:
        """Count the words or characters of the text."""
        text = row.text(self.on)
        return float(len(words(text)) if self.unit == "words" else len(text))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count in one compiled pass, shared with other steps on the same text."""
        import pyarrow.compute as pc

        from curate.kernels.text.counts_compiled import count_texts

        if self.unit == "chars":
            return Scores(pc.utf8_length(chunk.texts(self.on)).to_numpy().astype("float64"))
        return Scores(count_texts(chunk, self.on).words.astype("float64"))

    def keep(self, score: float | None) -> str | None:
        """Compare the length with the limits."""
        if score is not None and self.min is not None and score < self.min:
            return f"fewer than {self.min} {self.unit}"
        if score is not None and self.max is not None and score > self.max:
            return f"more than {self.max} {self.unit}"
        return None
