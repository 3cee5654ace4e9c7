"""Rank rows by how close their style is to what is usual in the dataset: SCAR without training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import check_amount, first_of_groups
from curate.kernels.text.style_features import FEATURES, style_counts, style_features
from curate.row import RESPONSE_FIELD, On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# The number of words is not a style, and MTLD is missing for most texts.
_COMPARED = tuple(name for name in FEATURES if name not in ("words", "mtld"))


@dataclass(frozen=True, kw_only=True)
class StyleDistance(Whole):
    """Score how far the style of a text is from the typical one, and keep the nearest.

    The score is the root mean square of the features of `style` (without words and mtld), each as
    the distance from its median in units of its median deviation; a feature that a text lacks is
    omitted. `count` is the number of rows with the lowest scores to keep. `share` is the share to
    keep (rounded down, at least one). Ties go to the earlier row. A text without words has no score
    and comes last. This is a substitute for `scar` without a ranker: it ignores instructional
    surprisal, and equates common with consistent.
    """

    on: On = "response"
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "our own, on the features of Li et al. 2024 (SCAR), arXiv 2406.10882"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Refuse two amounts, and impossible ones."""
        check_amount(self.count, self.share)

    def sampled(self, part: float) -> Whole:
        """Ask for a part of the count; a share stays what it is."""
        return self if self.count is None else replace(self, count=math.ceil(self.count * part))

    def sketch_types(self) -> dict[str, str]:
        """Keep the features of the text."""
        return dict.fromkeys(_COMPARED, "float64")

    def sketch(self, row: Row) -> dict[str, Any]:
        """Count one text."""
        import numpy as np

        features = style_features(np.array([style_counts(row.text(self.on))]), 50)[0].tolist()
        found = dict(zip(FEATURES, features, strict=True))
        return {name: None if math.isnan(found[name]) else found[name] for name in _COMPARED}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Measure the distances, and keep the nearest rows."""
        import numpy as np
        import pyarrow as pa

        count = sketches.num_rows
        squares, there = np.zeros(count), np.zeros(count)
        for name in _COMPARED:
            values = np.asarray(sketches.column(name).to_numpy(), np.float64)
            known = ~np.isnan(values)
            if not known.any():
                continue
            away = values - np.median(values[known])
            spread = math.sqrt(float(np.mean(away[known] ** 2)))
            if spread > 0:
                squares[known] += (away[known] / spread) ** 2
            there += known
        with np.errstate(invalid="ignore"):
            score = np.sqrt(squares / np.where(there > 0, there, np.nan))
        one = pa.chunked_array([pa.array([""] * count, pa.string())])
        kept = first_of_groups(one, score, self.count, self.share)
        amount = f"{self.share:.4g} share" if self.share is not None else f"{self.count}"
        reason = f"not among the {amount} of most usual style"
        return Verdicts(np.where(kept, -1, 0), (reason,), score=score)
