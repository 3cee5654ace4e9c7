"""The history of one row: its origin, the outcome of each step, and the evidence behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.read.finished_runs import description_of, published_files
from curate.row import Row, printable
from curate.runs.lookup import id_of
from curate.runs.notebook import lines_html
from curate.runs.report import ENDINGS
from curate.runs.rows import as_record, working_columns


@dataclass
class RowHistory:
    """The history of one row. `events` are its ledger lines in the order of steps.

    `notes` are what steps remarked on it, by label; `partners` the rows that its events name,
    `exchanges` the requests behind them with their replies, by key (of one that is `damaged` in
    the store there is no text); `parents` are the histories of the rows it was made from,
    `children` the ids of those made from it.
    """

    id: str
    outcome: str
    origin: str
    record: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    partners: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    exchanges: dict[str, dict[str, Any]] = field(default_factory=dict)
    parents: list[RowHistory] = field(default_factory=list)
    children: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the events in a few lines; `curate explain` shows texts and evidence as well."""
        lines = [f"row {self.id}, {self.outcome}", f"came from {printable(self.origin)}"]
        for event in self.events:
            partner = f", because of {event['partner']}" if event["partner"] else ""
            lines.append(f"{event['step']}: {describe(event)}{partner}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return lines_html(str(self))


def describe(event: Mapping[str, Any]) -> str:
    """Return a ledger line in words: the outcome, the reason and the score."""
    reason = f": {printable(event['reason'])}" if event["reason"] else ""
    score = f" (score {event['score']:.6g})" if event["score"] is not None else ""
    return f"{event['outcome']}{reason}{score}"


def explain(folder: Path, row: str) -> RowHistory:
    """Return the history of one row, by the first digits of its id or as FILE:NUMBER.

    Raises:
        UsageError: no row, or more than one, is meant.
    """
    import pyarrow.parquet as pq

    if not (folder / "report.json").is_file():
        raise UsageError(f"{folder} holds no finished run (no report.json); run its recipe first")
    recipe = description_of(folder)
    history = _history(folder, id_of(folder, row, recipe["inputs"]), recipe)
    target = bytes.fromhex(history.id)
    for path in published_files(folder / "ledger"):
        table = pq.read_table(path, columns=["row", "outcome", "parents"])
        made = table.filter(table.column("outcome").to_numpy() == "made")
        ids, parents = (made.column(name).to_pylist() for name in ("row", "parents"))
        for one, its_parents in zip(ids, parents, strict=True):
            if target in (its_parents or ()):
                history.children.append(one.hex())
    return history


def _history(folder: Path, row_id: str, recipe: Mapping[str, Any], depth: int = 0) -> RowHistory:
    """Return a history with those of its parents (to a bounded depth: a pool may go far back)."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    section, row, place = _find(folder, row_id)
    if place.get("file"):
        origin = f"{place['file']}, line {place['line']}"
    elif row.parents or len(row.seq) != 3:
        origin = f"made from {len(row.parents)} row{'s' if len(row.parents) != 1 else ''}"
    else:
        files = [entry for entry in recipe["inputs"] if entry.get("input") == row.source]
        name = files[row.seq[1]]["file"] if row.seq[1] < len(files) else row.source
        origin = f"{name}, record {row.seq[2] + 1:,}"
    # Its lines in the ledger, step by step.
    events: list[dict[str, Any]] = []
    for label in ["read", *recipe["labels"]]:
        for path in published_files(folder / "ledger" / label):
            ids = pq.read_table(path, columns=["row"]).column("row")
            hits = pc.equal(ids, pa.scalar(bytes.fromhex(row_id), ids.type))
            if not pc.any(hits).as_py():
                continue
            for line in pq.ParquetFile(path).read().filter(hits).to_pylist():
                line["detail"] = json.loads(line["detail"]) if line["detail"] else None
                line["partner"] = line["partner"].hex() if line["partner"] else None
                line["parents"] = [p.hex() for p in line["parents"] or ()]
                del line["row"]
                events.append(line)
    history = RowHistory(
        id=row_id,
        outcome=section,
        origin=origin,
        record=as_record(row) if row.kind else {"raw": place.get("raw")},
        notes=json.loads(row.notes) if row.notes else {},
        events=events,
    )
    for event in history.events:
        if event["partner"] is not None:
            history.partners[event["partner"]] = as_record(_find(folder, event["partner"])[1])
    history.exchanges = _exchanges(history.events, recipe)
    if depth < 8:
        for parent in row.parents:
            history.parents.append(_history(folder, parent, recipe, depth + 1))
    return history


def _find(folder: Path, row_id: str) -> tuple[str, Row, dict[str, Any]]:
    """Return where a row ended, the row, and the failed file's columns about its line."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.chunk import rows_of

    for section in ENDINGS:
        for path in published_files(folder / section):
            ids = pq.read_table(path, columns=["id"]).column("id")
            at = pc.index(ids, pa.scalar(bytes.fromhex(row_id), ids.type)).as_py()
            if at < 0:
                continue
            table = pq.ParquetFile(path).read().slice(at, 1)
            names = ("step", "error", "file", "line", "raw")
            place = {n: table.column(n)[0].as_py() for n in names if n in table.column_names}
            if place.get("raw") is not None:
                place["raw"] = place["raw"].decode("utf-8", "replace")
            return section, next(iter(rows_of(working_columns(table, path.parent.name)))), place
    raise UsageError(f"{folder} holds no row {row_id}; was part of the folder deleted?")


def _exchanges(
    events: list[dict[str, Any]], recipe: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the requests and replies behind a row's events, as the store still has them."""
    keys = [key for event in events for key in (event["detail"] or {}).get("asked", ())]
    store = recipe.get("options", {}).get("store")
    if not keys or not store or not Path(store).is_dir():
        return {}
    from curate.store.store import DAMAGED, Store

    with Store.open(Path(store)) as opened:
        requests, replies = opened.requests(keys), opened.get_many(keys)
    damaged = {key for key, one in replies.items() if one.reply.finish_reason == DAMAGED}
    return {
        key: {
            "model": requests[key].model if key in requests else None,
            "request": requests[key].content if key in requests else None,
            "reply": replies[key].reply.text if key in replies and key not in damaged else None,
            **({"damaged": True} if key in damaged else {}),
        }
        for key in dict.fromkeys(keys)
    }
