"""The scores and details of a ledger, and whether a judge's scores have collapsed to one value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.read.finished_runs import published_files

# Fewer scores may well be equal. GPT-4 gave 75.9 % of davinci-003's answers exactly 9, and its
# scores still rank; where nine of ten are one value, hardly a row is told from another.
FEWEST_SCORES = 20
COLLAPSED_SHARE = 0.9


class CommonestScore(NamedTuple):
    """The score that most rows have, how many have it, and how many have any."""

    value: float
    rows: int
    scored: int

    def warning(self, whose: str) -> str:
        """Return a sentence about the scores that `whose` names."""
        return (
            f"{self.rows:,} of {self.scored:,} scores ({self.rows / self.scored:.0%}) of {whose} "
            f"are {self.value:g}: they have collapsed to one value and hardly tell rows apart; try "
            "another prompt or model, an expected score (expectation: true), or rank answers "
            "against each other (rank)"
        )


def collapse_of(scores: Sequence[float]) -> CommonestScore | None:
    """Return the commonest score where nearly all are that one, `None` where they differ.

    Nearly all are 90 % of 20 scores or more.
    """
    import numpy as np

    array: Any = np.asarray(scores, np.float64)
    if len(array) < FEWEST_SCORES:
        return None
    values, counts = np.unique(array, return_counts=True)
    most = int(counts.argmax())
    found = CommonestScore(float(values[most]), int(counts[most]), len(array))
    return found if found.rows >= COLLAPSED_SHARE * found.scored else None


def ledger_scores(folder: Path, label: str) -> Any:
    """Return the scores of a step, as float64, from the ledger in a run's `folder`."""
    import numpy as np
    import pyarrow.parquet as pq

    paths = published_files(folder / "ledger" / label)
    columns = (pq.read_table(path, columns=["score"]).column("score") for path in paths)
    return np.concatenate([np.empty(0), *(one.drop_null().to_numpy() for one in columns)])


def ledger_details(folder: Path, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the details of the rows that a step made, each with the id of the row it was made of.

    A row that was made of several is left out.
    """
    import pyarrow.parquet as pq

    for path in published_files(folder / "ledger" / label):
        table = pq.read_table(path, columns=["outcome", "detail", "parents"])
        for line in table.to_pylist():
            if line["outcome"] == "made" and line["detail"] and len(line["parents"] or ()) == 1:
                yield line["parents"][0].hex(), json.loads(line["detail"])


def scores_by_row(folder: Path, label: str) -> dict[str, float]:
    """Return the score that a step gave each row, by the row's id; rows without one are absent."""
    import pyarrow.parquet as pq

    found = {}
    for path in published_files(folder / "ledger" / label):
        table = pq.read_table(path, columns=["row", "score"])
        for line in table.to_pylist():
            if line["score"] is not None:
                found[line["row"].hex()] = line["score"]
    return found
