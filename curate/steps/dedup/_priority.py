"""What the deduplicating steps share: which row of a group stays, and what is compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.row import On, Row
from curate.step import Readers, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Deduplicate(Whole):
    """Walk rows by `keep`, and drop those that are too like a row kept before.

    An operator names the column of what it compares, and fills it for a row and for a chunk.
    """

    on: On = "whole"
    against: str | None = None
    by: str | None = None
    keep: Literal["first", "longest", "best"] = rule("first")
    lowest: bool = rule(False)

    # The sketch's own column and its Arrow type.
    compared: ClassVar[tuple[str, str]]

    def check(self) -> None:
        """Refuse `keep: best` without a score to compare."""
        if self.keep == "best" and self.by is None:
            raise ValueError("keep is 'best', but by is not set; name the step whose score decides")

    def of_row(self, row: Row) -> Any:
        """Return what is compared of one row."""
        raise NotImplementedError

    def of_chunk(self, chunk: Chunk) -> pa.Array | None:
        """Return what is compared of every row of a chunk; `None`: row by row is as good."""
        raise NotImplementedError

    def sketch_types(self) -> dict[str, str]:
        """Return what is compared, and what `keep` looks at."""
        return {self.compared[0]: self.compared[1], "length": "int64", "score": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Measure one row."""
        return {
            self.compared[0]: self.of_row(row),
            "length": len(row.text(self.on)),
            "score": None if self.by is None else row.scores.get(self.by),
        }

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Measure a chunk."""
        import pyarrow.compute as pc

        from curate.kernels.arrays.duplicates import score_column

        compared = self.of_chunk(chunk)
        if compared is None:
            return None
        return {
            self.compared[0]: compared,
            "length": pc.utf8_length(chunk.texts(self.on)),
            "score": score_column(chunk, self.by),
        }

    def walk_order(self, sketches: pa.Table) -> np.ndarray:
        """Return the places of the rows, the most wanted first."""
        from curate.kernels.arrays.duplicates import walk_order_of

        return walk_order_of(self.keep, sketches, lowest=self.lowest)

    def walk_order_by_part(self, parts: Readers) -> np.ndarray:
        """Return `walk_order` of all parts, of which only what `keep` looks at is read."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        tables = [part().select(["length", "score"]) for part in parts]
        score = [pc.fill_null(table.column("score"), float("nan")).to_numpy() for table in tables]
        length = [table.column("length").to_numpy() for table in tables]
        return self.walk_order(
            pa.table({"length": np.concatenate(length), "score": np.concatenate(score)})
        )
