"""How the scores of each step are spread, so that a threshold is chosen with open eyes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# Up to this many different scores, as a judge's marks are, each is counted.
MOST_COUNTED = 10
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class ScoreDistribution(NamedTuple):
    """The scores of one step: how many rows have one, and the scores at `SHARES` of these rows.

    `counts` holds how many rows have each score, where there are few different ones.
    """

    label: str
    rows: int
    quantiles: tuple[float, ...]
    counts: tuple[tuple[float, int], ...] = ()


def score_distributions(run: Path, labels: Iterable[str]) -> list[ScoreDistribution]:
    """Return the spread of every step's scores, where they differ; one step is held at a time."""
    found = (_spread(run / "ledger" / label, label) for label in labels)
    return [one for one in found if one is not None]


def _spread(folder: Path, label: str) -> ScoreDistribution | None:
    import numpy as np
    import pyarrow.parquet as pq

    tables = (pq.read_table(path, columns=["score"]) for path in sorted(folder.glob("*.parquet")))
    parts = [table.column("score").drop_null().to_numpy() for table in tables]
    scores = np.concatenate([np.empty(0), *parts])
    if not len(scores) or scores.min() == scores.max():
        return None
    # Of scores that rows have: a threshold between two of them says nothing else.
    quantiles = np.quantile(scores, SHARES, method="inverted_cdf").tolist()
    values, counts = np.unique(scores, return_counts=True)
    few = len(values) <= MOST_COUNTED
    counted = zip(values.tolist(), counts.tolist(), strict=True) if few else ()
    return ScoreDistribution(label, len(scores), tuple(quantiles), tuple(counted))
