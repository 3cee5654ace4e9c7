"""Count what a dataset is made of: rows by source, template or any other column."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import check_groups, group_of, groups_of, shown_group
from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Composition(Whole):
    """Count the rows of every combination of the values of some columns, for the report.

    `per` lists `source`, `kind`, `instruction`, labels of scores or extra columns, as in `balance`.
    No row is dropped. The figures are the number of rows, of distinct values of each column, and of
    rows with each combination. `most` is the number of combinations to list, the most frequent
    first; the rest is summed as `others`. After `template`, `per: [source, template]` gives
    PromptSource's view of a collection: datasets, templates, and instances as the sum of sizes
    times templates.
    """

    per: tuple[str, ...] = ("source",)
    most: int = rule(100)

    source: ClassVar[str] = "Bach et al. 2022 (PromptSource), arXiv 2202.01279: the helicopter view"

    def check(self) -> None:
        """Reject a count by nothing."""
        if not self.per or len(set(self.per)) < len(self.per):
            raise ValueError("per must name one or several columns, each once")
        if self.most < 0:
            raise ValueError(f"most is {self.most}; it must be 0 or more")

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's value of each column."""
        return {f"value_{place}": "string" for place in range(len(self.per))}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the values."""
        return {f"value_{place}": group_of(row, name) for place, name in enumerate(self.per)}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Read whole columns."""
        return {f"value_{place}": groups_of(chunk, name) for place, name in enumerate(self.per)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Count, and keep all rows."""
        import numpy as np
        import pyarrow.compute as pc

        names = sketches.column_names
        for name, per in zip(names, self.per, strict=True):
            check_groups(sketches.column(name), per)
        figures = {"rows": float(len(positions))}
        for name, per in zip(names, self.per, strict=True):
            figures[f"different {per}"] = float(pc.count_distinct(sketches.column(name)).as_py())
        found = sketches.group_by(names).aggregate([([], "count_all")]).to_pylist()
        counts: Counter[str] = Counter()
        for group in found:
            counts[" / ".join(shown_group(group[name]) or "none" for name in names)] += group[
                "count_all"
            ]
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        figures |= {label: float(count) for label, count in ranked[: self.most]}
        if rest := ranked[self.most :]:
            figures["others"] = float(sum(count for _, count in rest))
        return Verdicts(np.full(len(positions), -1), figures=figures)
