"""Count the rows of each cell, beside what was planned."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import Row
from curate.step import Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# More values than that are not cells that a table could show.
MOST_CELLS = 200


@dataclass(frozen=True, kw_only=True)
class CellCoverage(Whole):
    """Count how many rows have each value of columns, for the report; no row is dropped.

    `columns` names extra columns, or several joined by a slash: `topic/subtopic` counts pairs. The
    figures have the names under which `attributes` planned them (`topic=law`), and the report shows
    both side by side. For a column with more than 200 values, only the number of values is given.
    """

    columns: tuple[str, ...] = ()

    source: ClassVar[str] = "our own"

    def check(self) -> None:
        """Reject a step that counts nothing."""
        if not self.columns:
            raise ValueError("columns must name an extra column or more, as in [topic]")

    def sketch_types(self) -> dict[str, str]:
        """Keep the columns' values as JSON."""
        return {"values": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the columns of one row."""
        columns = json.loads(row.extra) if row.extra else {}
        cells = []
        for path in self.columns:
            values = [columns.get(name) for name in path.split("/")]
            texts = [v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
            cells.append(f"{path}={'/'.join(texts)}")
        return {"values": json.dumps(cells, ensure_ascii=False)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Count the values."""
        import numpy as np

        counts: list[Counter[str]] = [Counter() for _ in self.columns]
        for text in sketches.column("values").to_pylist():
            for counter, cell in zip(counts, json.loads(text), strict=True):
                counter[cell] += 1
        figures = {"rows": float(len(positions))}
        for path, counter in zip(self.columns, counts, strict=True):
            if len(counter) > MOST_CELLS:
                figures[f"{path} values"] = float(len(counter))
            else:
                figures |= {cell: float(counter[cell]) for cell in sorted(counter)}
        return Verdicts(code=np.full(len(positions), -1), figures=figures)
