"""Score rows by a feature of their style: lexical diversity, readability, layout and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.text.style_features import (
    FEATURES,
    Feature,
    opening,
    style_counts,
    style_features,
)
from curate.row import On, Row
from curate.step import Filter, Scored, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Style(Filter):
    """Score one feature of a text's style; the ledger has all features and the opening words.

    `feature` is one of: words; type_token_ratio (distinct words per word); mtld (measure of textual
    lexical diversity, threshold 0.72, mean of both directions); flesch (reading ease);
    sentence_length in words; word_length in characters; function_words and punctuation, per word;
    list_items, headers and bold spans, per non-blank line. A text without words has no score.
    `mtld` also needs `min_words` words (50) and a repeated word; `flesch` and `function_words`,
    which are made for English, need fewer than 30 % non-Latin letters. Nearly all features depend
    on the length of the text: compare texts of about the same length, or remove the effect of
    length with `style_report`. Rows below `min` or above `max` are dropped.
    """

    on: On = "response"
    feature: Feature = "flesch"
    min_words: int = 50
    min: float | None = rule(None)
    max: float | None = rule(None)

    source: ClassVar[str] = (
        "Li et al. 2024 (SCAR), arXiv 2406.10882; McCarthy and Jarvis 2010 (MTLD), "
        "doi 10.3758/BRM.42.2.381; Zenker and Kyle 2021 (50 words), doi 10.1016/j.asw.2020.100505"
    )

    def check(self) -> None:
        """Reject limits that no text can meet."""
        if self.min_words < 1:
            raise ValueError(f"min_words is {self.min_words}; it must be 1 or more")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}): no text can pass")

    def score(self, row: Row) -> Scored:
        """Count one text."""
        import numpy as np

        text = row.text(self.on)
        features = style_features(np.array([style_counts(text)]), self.min_words)[0].tolist()
        value = features[FEATURES.index(self.feature)]
        return Scored(value if value == value else None, _detail(features, opening(text)))

    def score_many(self, chunk: Chunk) -> Scores:
        """Count in one compiled pass, shared with other steps on the same text."""
        from curate.kernels.text.style_compiled import openings, style_of

        column = style_of(chunk, self.on)
        features = style_features(column.counts, self.min_words)
        rows = zip(features.tolist(), openings(column), strict=True)
        values = features[:, FEATURES.index(self.feature)]
        return Scores(values, [_detail(row, first) for row, first in rows])

    def keep(self, score: float | None) -> str | None:
        """Compare with `min` and `max`."""
        if score is not None and self.min is not None and score < self.min:
            return f"{self.feature} below {self.min:g}"
        if score is not None and self.max is not None and score > self.max:
            return f"{self.feature} above {self.max:g}"
        return None


def _detail(features: Sequence[float], first: str) -> dict[str, Any]:
    """Return what the ledger shows: the features that a text has, and how it begins."""
    found = zip(FEATURES, features, strict=True)
    return {name: round(value, 4) for name, value in found if value == value} | {"opening": first}
