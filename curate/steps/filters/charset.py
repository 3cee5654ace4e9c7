"""Keep rows whose text is made of letters, or of letters of the scripts one wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.scripts import in_scripts, script_ranges
from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Charset(Filter):
    """Drop rows whose text has too small a share of letters, or of letters in the given scripts.

    Without `scripts`, the score is the share of letters among all characters except white space;
    with them (`[latin, han]`), it is the share of their letters among all letters. Rows below `min`
    (0 to 1, inclusive) are dropped; there is no default, but prose is near 0.95 and code near 0.7.
    The score is truncated to thousandths. A text without such characters has no score and is kept.
    """

    on: On = "response"
    scripts: tuple[str, ...] = ()
    min: float | None = rule(None)

    source: ClassVar[str] = "Rae et al. 2021 (Gopher), arXiv 2112.11446, A1.1, on characters"

    def check(self) -> None:
        """Reject scripts nobody knows and a share outside 0 to 1."""
        unknown = sorted(set(self.scripts) - set(script_ranges()))
        if unknown:
            allowed = ", ".join(script_ranges())
            raise ValueError(f"unknown script '{unknown[0]}'; allowed are {allowed}")
        if self.min is not None and not 0 <= self.min <= 1:
            raise ValueError(f"min is a share from 0 to 1, not {self.min}")

    def score(self, row: Row) -> float | None:
        """Return the share in thousandths."""
        text = row.text(self.on)
        letters = [character for character in text if character.isalpha()]
        if self.scripts:
            good, every = sum(in_scripts(c, self.scripts) for c in letters), len(letters)
        else:
            good, every = len(letters), sum(not c.isspace() for c in text)
        return 1000 * good // every / 1000 if every else None

    def score_many(self, chunk: Chunk) -> Scores:
        """Take letters and white space from the pass that all counting steps share."""
        import numpy as np

        from curate.kernels.text.counts_compiled import count_texts, flag_kernel, text_bytes
        from curate.kernels.text.scripts import script_letters

        counts = count_texts(chunk, self.on)
        good, every = counts.letters, counts.characters - counts.spaces
        if self.scripts:
            texts = text_bytes(chunk.texts(self.on))
            good, every = flag_kernel(*texts, script_letters(self.scripts)), counts.letters
        shares = 1000 * good // np.maximum(every, 1) / 1000
        return Scores(np.where(every > 0, shares, np.nan))

    def keep(self, score: float | None) -> str | None:
        """Compare the share with `min`."""
        if score is None or self.min is None or score >= self.min:
            return None
        of = f"of letters in {', '.join(self.scripts)}" if self.scripts else "of letters"
        return f"share {of} below {self.min:g}"
