"""Keep rows with little, or with enough, program code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.row import On, Row
from curate.step import Filter, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk

_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
# A statement's end, or how statements begin in the languages of most datasets.
_CODE = re.compile(
    r"[^\n]*[;{}]\s*$|\s*(?:def|class) \w+.*:|\s*(?:import \w|from \w\S* import |return\b|elif .*:"
    r"|#include|using namespace|public |private |const \w+ =|let \w+ =|var \w+ =|function \w*\("
    r"|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE) )|\s*[\w.]+\([^)]*\)\s*$"
    r"|\s*(?:for|while|if) .*:\s*$|\s*\w[\w.\[\]]* [-+*/]?= \S|</?[a-z]+[^>]*>\s*$"
)
# Found in every text that has a line of code, by RE2: whatever else a line holds, it holds this.
_SCREEN = (
    r"[;{}(=<:]|```|~~~|import|return|#include|using namespace|public |private "
    r"|SELECT |INSERT INTO |UPDATE |DELETE FROM |CREATE TABLE "
)


@dataclass(frozen=True, kw_only=True)
class CodeRatio(Filter):
    """Drop rows by the share of their lines that are program code.

    The score is the share of non-blank lines, in thousandths, that are between code fences or that
    begin or end like a statement. A text without lines has no score and is kept. `min` and `max` (0
    to 1, inclusive) are unset by default: `max: 0.5` keeps prose, `min: 0.5` code.
    """

    on: On = "response"
    min: float | None = rule(None)
    max: float | None = rule(None)

    source: ClassVar[str] = "common practice; the lines are this project's own rule"

    def check(self) -> None:
        """Reject limits that no text can meet."""
        for name, value in (("min", self.min), ("max", self.max)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {value}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): no text can pass")

    def score(self, row: Row) -> float | None:
        """Return the share of code lines in thousandths."""
        return code_share(row.text(self.on))

    def score_many(self, chunk: Chunk) -> Scores:
        """Measure only the texts in which RE2 sees a sign of code; the rest have none."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.kernels.text.counts_compiled import count_texts

        texts = chunk.texts(self.on)
        values = np.where(count_texts(chunk, self.on).words > 0, 0.0, np.nan)
        where = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, _SCREEN)))
        found = [code_share(text) for text in texts.take(pa.array(where)).to_pylist()]
        values[where] = [np.nan if share is None else share for share in found]
        return Scores(values)

    def keep(self, score: float | None) -> str | None:
        """Compare the share with the limits."""
        if score is None:
            return None
        if self.min is not None and score < self.min:
            return f"share of code below {self.min:g}"
        if self.max is not None and score > self.max:
            return f"share of code above {self.max:g}"
        return None


def code_share(text: str) -> float | None:
    """Return the share of a text's lines that are code, or `None` where all are blank."""
    code, every, fenced = 0, 0, False
    for line in text.split("\n"):
        if not line.strip():
            continue
        every += 1
        if _FENCE.match(line):
            code, fenced = code + 1, not fenced
        else:
            code += fenced or _CODE.match(line) is not None
    return 1000 * code // every / 1000 if every else None
