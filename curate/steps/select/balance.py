"""Keep so many rows of every value, that none outweighs the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import (
    check_groups,
    draw_of,
    first_of_groups,
    group_of,
    group_sizes,
    groups_of,
)
from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Balance(Whole):
    """Cap how many rows each value of a column may have.

    `per` is `source`, `kind`, `instruction` (equal ones), the label of a score, or an extra column;
    values are distinguished as in JSON (1 and "1" differ), and rows without one form a group. `cap`
    is the maximum number of rows per value. `times` sets that maximum as a multiple of the rarest
    value's rows (1 makes all equal, rounded down). Which rows are kept is drawn from their own
    seeds, as in `sample`. With `by`, it is decided by the score of an earlier step, highest first.
    With `lowest`, the lowest scores come first. The score is the size of the row's group.
    """

    per: str | None = None
    by: str | None = None
    lowest: bool = rule(False)
    cap: int | None = rule(None)
    times: float | None = rule(None)

    source: ClassVar[str] = "Longpre et al. 2023 (FLAN 2022), arXiv 2301.13688: a cap per task"

    def check(self) -> None:
        """Reject a step without a column, or with two limits."""
        if not self.per:
            raise ValueError("per must name source, kind, instruction, a score or an extra column")
        if self.cap is not None and self.times is not None:
            raise ValueError("give cap or times, not both")
        if self.lowest and not self.by:
            raise ValueError("lowest needs a score; by must name the step that gives it")
        if self.cap is not None and self.cap < 0:
            raise ValueError(f"cap must not be negative, and is {self.cap}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is at least 1 (1 makes all values equal), not {self.times}")

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's value and its place among the rows of that value."""
        return {"group": "string", "order": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the value, and the score or draw that orders its rows."""
        if self.by:
            score = row.scores.get(self.by)
            order = None if score is None else -score
        else:
            order = draw_of(row.id, self.title, row.run_seed)
        return {"group": group_of(row, self.per), "order": order}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Read whole columns."""
        import numpy as np
        import pyarrow as pa

        if self.by:
            scores = -chunk.scores(self.by)
            order = pa.array(scores, mask=np.isnan(scores))
        else:
            ids = chunk.column("id").to_pylist()
            draws = [draw_of(row_id.hex(), self.title, chunk.run_seed) for row_id in ids]
            order = pa.array(draws, pa.float64())
        return {"group": groups_of(chunk, self.per), "order": order}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Keep the first rows of each value."""
        import numpy as np

        group = sketches.column("group")
        check_groups(group, self.per)
        sizes = group_sizes(group)
        cap = self.cap
        if self.times is not None and len(sizes):
            # Exact: 1.1 x 10 is 11, where floating point may fall short.
            cap = math.floor(Fraction(str(self.times)) * int(sizes.min()))
        order = np.asarray(sketches.column("order").to_numpy())
        if self.lowest and self.by:
            order = -order
        first = first_of_groups(group, order, cap, None)
        reason = f"too many rows of its {self.per}"
        return Verdicts(np.where(first, -1, 0), (reason,), score=sizes.astype(np.float64))
