"""What selecting steps say of their rows: which are chosen, and whom the others are closest to.

Nothing is dropped here: see `engine.partition`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.kernels.arrays.groups import allowed_of
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.select import nearest_chosen
from curate.step import Verdicts

if TYPE_CHECKING:
    import pyarrow as pa

NO_TEXT = "no text to compare"


def scores_of(
    sketches: pa.Table,
    by: str | None,
    *,
    missing: float | None = None,
    lowest: bool = False,
) -> np.ndarray:
    """Return the scores of rows, higher ones better; where the `lowest` is best, they are negated.

    A row without a score has the worst of all, or `missing`.

    Raises:
        ValueError: no row has a score.
    """
    import pyarrow.compute as pc

    column = pc.fill_null(sketches.column("score"), float("nan"))
    scores = np.array(column.to_numpy(), np.float64)
    scores = -scores if lowest else scores
    known = ~np.isnan(scores)
    if len(scores) and not known.any():
        raise ValueError(f"no row has a score by '{by}'; by names an earlier step that scores rows")
    if len(scores):
        scores[~known] = scores[known].min() if missing is None else missing
    return scores


def verdicts_on(
    sketches: pa.Table,
    count: int | None,
    share: float | None,
    choose: Callable[[UnitVectors, int], np.ndarray],
) -> Verdicts:
    """Keep the rows that `choose` chooses of the vectors; without an amount, keep all.

    The score is the cosine with the closest kept row (for a kept one: kept before it), which a
    dropped row names; a kept row's place in the order of choice is in its details.
    """
    size = sketches.num_rows
    if count is None and share is None:
        return Verdicts(np.full(size, -1))
    every = UnitVectors.of_column(sketches, "vector")
    chosen = choose(every, allowed_of(size, count, share))
    nearest = nearest_chosen(every, chosen)
    code = np.where(every.lengths > 0, 0, 1)
    code[chosen] = -1
    details: list[dict[str, Any] | None] = [None] * size
    for place, row in enumerate(chosen.tolist()):
        details[row] = {"place": place + 1}
    return Verdicts(
        code,
        (f"not among the {amount_of(count, share)} chosen", NO_TEXT),
        score=nearest.cosine,
        partner=np.where(code >= 0, nearest.row, -1),
        details=details,
    )


def amount_of(count: int | None, share: float | None) -> str:
    """Return an amount as a reason names it."""
    return f"{count} rows" if share is None else f"{share:.4g} share"
