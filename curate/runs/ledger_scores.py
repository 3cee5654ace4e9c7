"""The scores and details of a ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate.read.finished_runs import published_files


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


def scored_details(folder: Path, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the details of the rows that a step scored, each with the row's id."""
    import pyarrow.parquet as pq

    for path in published_files(folder / "ledger" / label):
        table = pq.read_table(path, columns=["row", "score", "detail"])
        for line in table.to_pylist():
            if line["score"] is not None and line["detail"]:
                yield line["row"].hex(), json.loads(line["detail"])


def score_column(folder: Path, label: str, ids: Sequence[str]) -> list[float | None]:
    """Return the score that a step gave each row, by the rows' ids; `None` where it gave none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array([bytes.fromhex(one) for one in ids], pa.binary(16))
    tables = [pa.schema([("row", pa.binary(16)), ("score", pa.float64())]).empty_table()]
    for path in published_files(folder / "ledger" / label):
        table = pq.read_table(path, columns=["row", "score"])
        there = pc.is_in(table.column("row"), wanted)
        mask = pc.and_(there, pc.is_finite(table.column("score")))
        tables.append(table.filter(mask).cast(tables[0].schema))
    every = pa.concat_tables(tables).combine_chunks()
    places = pc.index_in(wanted, value_set=every.column("row"))
    found: list[float | None] = every.column("score").take(places).to_pylist()
    return found
