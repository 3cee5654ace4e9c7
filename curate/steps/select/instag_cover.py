"""Keep rows with many and varied tags (#InsTag's complexity-first diverse sampling)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import check_amount
from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class InstagCover(Whole):
    """Keep rows with many and varied tags, the rows with the most tags first.

    Each pass takes a row if it has a tag that no row of the pass had before; then the covered tags
    are cleared, until enough rows are kept. `count` is the number of rows to keep. `share` is the
    share to keep instead (rounded down, at least one row); without both, all rows are kept. `tags`
    names an extra column, or an earlier step that left tags in its notes: a list of texts, or of
    objects with a `tag` (as from #InsTag's model). Tags are equal if they are spelled the same.
    Rows without tags are dropped if there is a number. The score is the number of distinct tags.
    """

    tags: str = "tags"
    count: int | None = rule(None)
    share: float | None = rule(None)

    source: ClassVar[str] = "Lu et al. 2023 (#InsTag), arXiv 2308.07074, section 4.1"

    def check(self) -> None:
        """Reject two amounts."""
        check_amount(self.count, self.share)

    def sketch_types(self) -> dict[str, str]:
        """Keep the tags of a row."""
        return {"tags": "list<string>"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the tags from the notes, else from the extra columns."""
        notes = json.loads(row.notes) if row.notes else {}
        extra = json.loads(row.extra) if row.extra else {}
        value = notes.get(self.tags, extra.get(self.tags))
        if isinstance(value, dict):
            value = value.get("tags")
        if value is None:
            return {"tags": None}
        if isinstance(value, list):
            tags = [one.get("tag") if isinstance(one, dict) else one for one in value]
            if all(isinstance(tag, str) for tag in tags):
                return {"tags": tags}
        found = json.dumps(value)[:80]
        raise ValueError(f"'{self.tags}' must hold a list of tags, and holds {found}")

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Take rows pass by pass."""
        import numpy as np

        from curate import select
        from curate.kernels.arrays.groups import allowed_of
        from curate.select.verdicts import amount_of

        tags = [own or () for own in sketches.column("tags").to_pylist()]
        if tags and not any(tags):
            raise ValueError(
                f"no row has tags under '{self.tags}'; tags names an extra column or a step's notes"
            )
        many = np.array([len(set(own)) for own in tags], np.float64)
        code = np.full(len(tags), -1)
        if self.count is not None or self.share is not None:
            count = allowed_of(len(tags), self.count, self.share)
            code = np.where(many > 0, 0, 1)
            code[select.instag_cover(tags, count)] = -1
        reason = f"not among the {amount_of(self.count, self.share)} chosen"
        return Verdicts(code, (reason, "no tags"), score=many)
