"""Keep a random part of the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import (
    check_amount,
    check_groups,
    draw_of,
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
class Sample(Whole):
    """Keep a random sample of the rows, overall or of each group.

    Every row draws a number from its own seed (row id, step label, run seed), independent of the
    order and of the other rows; the rows with the lowest numbers are kept. `count` is the number of
    rows to keep; a larger one keeps the rows of a smaller one. `share` is the share to keep instead
    (rounded down, at least one row). `per` samples within each group: `source`, `kind`,
    `instruction` (equal ones), the label of a score, or an extra column.
    """

    per: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "bottom-k sampling, Cohen and Kaplan 2007, doi 10.1145/1281100.1281133"

    def check(self) -> None:
        """Reject two amounts."""
        check_amount(self.count, self.share)

    def sampled(self, part: float) -> Whole:
        """Ask for a part of the count; a share stays what it is."""
        return self if self.count is None else replace(self, count=math.ceil(self.count * part))

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's draw and its group."""
        return {"draw": "float64", "group": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Draw a number from 0 to 1."""
        return {"draw": draw_of(row.id, self.title, row.run_seed), "group": group_of(row, self.per)}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Draw from the ids alone."""
        import pyarrow as pa

        ids = chunk.column("id").to_pylist()
        draws = [draw_of(row_id.hex(), self.title, chunk.run_seed) for row_id in ids]
        return {"draw": pa.array(draws, pa.float64()), "group": groups_of(chunk, self.per)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Keep the lowest draws of each group."""
        import numpy as np

        check_groups(sketches.column("group"), self.per)
        draw = np.asarray(sketches.column("draw").to_numpy())
        first = first_of_groups(sketches.column("group"), draw, self.count, self.share)
        return Verdicts(np.where(first, -1, 0), ("not in the sample",), score=draw)
