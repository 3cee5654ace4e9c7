"""Keep the rows with the best scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import (
    check_amount,
    check_groups,
    first_of_groups,
    group_of,
    groups_of,
)
from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Top(Whole):
    """Keep the rows whose score by an earlier step is highest, overall or in each group.

    `by` is that step's label. `count` is the number of rows to keep. `share` is the share to keep
    instead (rounded down, at least one). `per` selects within each group: `source`, `kind`,
    `instruction` (equal ones), the label of a score, or an extra column. Ties go to the earlier
    row; a row without a score comes last. Rows that score below `at_least`, or not at all, are
    dropped in any case. `lowest` keeps the lowest scores instead, and cannot be combined with
    `at_least`.
    """

    by: str | None = None
    per: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)
    at_least: float | None = rule(None)
    lowest: bool = rule(False)

    source: ClassVar[str] = "e.g. Chen et al. 2023 (AlpaGasus), arXiv 2307.08701, keep the best 9k"

    def check(self) -> None:
        """Reject a step without a score to go by, or with two amounts."""
        if not self.by:
            raise ValueError(
                "by must name an earlier step whose score decides, as in by: alpagasus"
            )
        check_amount(self.count, self.share)
        if self.lowest and self.at_least is not None:
            raise ValueError("lowest keeps the lowest scores; at_least would drop them")

    def sampled(self, part: float) -> Whole:
        """Ask for a part of the count; a share stays what it is."""
        return self if self.count is None else replace(self, count=math.ceil(self.count * part))

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's score and its group."""
        return {"score": "float64", "group": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the score that `by` names."""
        return {"score": row.scores.get(self.by or ""), "group": group_of(row, self.per)}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Read the column that `by` names."""
        import numpy as np
        import pyarrow as pa

        scores = chunk.scores(self.by or "")
        score = pa.array(scores, mask=np.isnan(scores))
        return {"score": score, "group": groups_of(chunk, self.per)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Rank the rows of each group and keep the first ones."""
        import numpy as np
        import pyarrow as pa

        check_groups(sketches.column("group"), self.per)
        score = np.asarray(sketches.column("score").cast(pa.float64()).to_numpy())
        order = score if self.lowest else -score
        first = first_of_groups(sketches.column("group"), order, self.count, self.share)
        which = "lowest" if self.lowest else "top"
        amount = f"{self.share:.4g} share" if self.share is not None else f"{self.count}"
        where = f" of its {self.per}" if self.per else ""
        reason = f"not among the {which} {amount}{where} by {self.by}"
        code = np.where(first, -1, 0)
        if self.at_least is None:
            return Verdicts(code, (reason,), score=score)
        code[~(score >= self.at_least)] = 1
        return Verdicts(code, (reason, f"scored below {self.at_least:g} by {self.by}"), score=score)
