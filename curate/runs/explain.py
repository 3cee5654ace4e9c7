"""The history of one row: its origin, the outcome of each step, and the evidence behind it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import CurateError, UsageError
from curate.read.finished_runs import description_of, published_files, run_of
from curate.row import Row, printable
from curate.runs.lookup import id_of
from curate.runs.notebook import lines_html
from curate.runs.report import ENDINGS
from curate.runs.rows import as_record, working_columns

# Of a pool that grew, a row's ancestors are most of the pool: no more are told than these, but for
# the row's own parents.
MOST_ANCESTORS = 100
# What a reply may hold besides its text, and what it has where it holds nothing.
_BESIDE_TEXT = {"values": (), "mass": None, "floored": (), "reasoning": "", "finish_reason": "stop"}


@dataclass
class RowHistory:
    """The history of one row. `events` are its ledger lines in the order of steps.

    `notes` are what steps remarked on it, by label; `partners` the rows that its events name,
    `exchanges` the requests behind them with their replies, by key: a text, and what else the model
    gave, as the `values` of a choice or of likelihoods (one that is `damaged` in the store has
    neither, and one of a store that cannot be read has an `error`); what was asked again has the
    `earlier` texts, too. `parents` are the histories of
    the rows it was made from; of ancestors each is told once, the nearest first, and of many the
    nearest hundred. `children` are the ids of the rows made from it, and `before` leads to a row of
    an input that is a run: its `run` and its `row` there.
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
    before: Mapping[str, str] | None = None

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
    wanted = id_of(folder, row, recipe["inputs"])
    # Level by level: a row that is an ancestor in several ways is told at its nearest descendant.
    of, told, depth = {wanted: RowHistory("", "", "", {})}, {wanted}, 0
    root = of[wanted]
    while of:
        found, following = _histories(folder, list(of), recipe), dict[str, RowHistory]()
        for row_id, (history, parents) in found.items():
            of[row_id].parents.append(history)
            for parent in parents:
                if parent not in told and (depth == 0 or len(told) <= MOST_ANCESTORS):
                    told.add(parent)
                    following[parent] = history
        of, depth = following, depth + 1
    (history,) = root.parents
    target = bytes.fromhex(history.id)
    for path in published_files(folder / "ledger"):
        table = pq.read_table(path, columns=["row", "outcome", "parents"])
        made = table.filter(table.column("outcome").to_numpy() == "made")
        ids, parents = (made.column(name).to_pylist() for name in ("row", "parents"))
        for one, its_parents in zip(ids, parents, strict=True):
            if target in (its_parents or ()):
                history.children.append(one.hex())
    return history


def _histories(
    folder: Path, ids: Sequence[str], recipe: Mapping[str, Any]
) -> dict[str, tuple[RowHistory, tuple[str, ...]]]:
    """Return the histories of rows by their ids, in this order, each with the ids of its parents.

    Raises:
        UsageError: the folder does not hold one of them.
    """
    rows, events = _find(folder, ids), _events(folder, ids, recipe)
    partners = {e["partner"] for lines in events.values() for e in lines if e["partner"]}
    shown = {one: as_record(row) for one, (_, row, _) in _find(folder, sorted(partners)).items()}
    exchanges = _exchanges([e for lines in events.values() for e in lines], recipe)
    histories = {}
    for row_id in ids:
        section, row, place = rows[row_id]
        origin, before = _origin(row, place, recipe)
        own = events[row_id]
        history = RowHistory(
            id=row_id,
            outcome=section,
            origin=origin,
            record=as_record(row) if row.kind else {"raw": place.get("raw")},
            notes=json.loads(row.notes) if row.notes else {},
            events=own,
            partners={e["partner"]: shown[e["partner"]] for e in own if e["partner"]},
            exchanges={key: exchanges[key] for key in _asked(own) if key in exchanges},
            before=before,
        )
        histories[row_id] = (history, row.parents)
    return histories


def _origin(
    row: Row, place: Mapping[str, Any], recipe: Mapping[str, Any]
) -> tuple[str, Mapping[str, str] | None]:
    """Return where a row came from, in words, and which row of another run it was before."""
    import pyarrow.parquet as pq

    if place.get("file"):
        return f"{place['file']}, line {place['line']}", None
    if row.parents or len(row.seq) != 3:
        return f"made from {len(row.parents)} row{'s' if len(row.parents) != 1 else ''}", None
    files = [entry for entry in recipe["inputs"] if entry.get("input") == row.source]
    entry = files[row.seq[1]] if row.seq[1] < len(files) else None
    number = row.seq[2]
    if entry is None:
        return f"{row.source}, record {number + 1:,}", None
    file, run, before = Path(entry["file"]), run_of(entry["file"]), None
    # The run may have been replaced since, and its rows with it.
    if run is not None and file.is_file() and file.stat().st_size == entry.get("size"):
        ids = pq.read_table(file, columns=["id"]).column("id")
        before = {"run": str(run), "row": ids[number].as_py().hex()} if number < len(ids) else None
    return f"{entry['file']}, record {number + 1:,}", before


def _events(
    folder: Path, ids: Sequence[str], recipe: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return the ledger lines of rows, step by step."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, list[dict[str, Any]]] = {row_id: [] for row_id in ids}
    binary = [bytes.fromhex(row_id) for row_id in ids]
    for label in ["read", *recipe["labels"]]:
        for path in published_files(folder / "ledger" / label):
            column = pq.read_table(path, columns=["row"]).column("row")
            hits = pc.is_in(column, pa.array(binary, column.type))
            if not pc.any(hits).as_py():
                continue
            for line in pq.ParquetFile(path).read().filter(hits).to_pylist():
                line["detail"] = json.loads(line["detail"]) if line["detail"] else None
                line["partner"] = line["partner"].hex() if line["partner"] else None
                line["parents"] = [p.hex() for p in line["parents"] or ()]
                found[line.pop("row").hex()].append(line)
    return found


def _find(folder: Path, ids: Sequence[str]) -> dict[str, tuple[str, Row, dict[str, Any]]]:
    """Return of each row where it ended, itself, and the failed file's columns about its line."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.chunk import rows_of

    found: dict[str, tuple[str, Row, dict[str, Any]]] = {}
    binary = [bytes.fromhex(row_id) for row_id in ids]
    for section in ENDINGS:
        for path in published_files(folder / section) if len(found) < len(ids) else ():
            column = pq.read_table(path, columns=["id"]).column("id")
            hits = pc.is_in(column, pa.array(binary, column.type))
            if not pc.any(hits).as_py():
                continue
            table = pq.ParquetFile(path).read().filter(hits)
            names = [
                name
                for name in ("step", "error", "file", "line", "raw")
                if name in table.column_names
            ]
            places = table.select(names).to_pylist()
            rows = rows_of(working_columns(table, path.parent.name))
            for number, row in enumerate(rows):
                place = places[number] if names else {}
                if place.get("raw") is not None:
                    place["raw"] = place["raw"].decode("utf-8", "replace")
                found[row.id] = (section, row, place)
    for row_id in ids:
        if row_id not in found:
            raise UsageError(f"{folder} holds no row {row_id}; was part of the folder deleted?")
    return found


def _asked(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of the requests behind events, in order."""
    keys = [key for event in events for key in (event["detail"] or {}).get("asked", ())]
    return list(dict.fromkeys(keys))


def _exchanges(
    events: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the requests and replies behind rows' events, as the store still has them."""
    keys = _asked(events)
    store = recipe.get("options", {}).get("store")
    if not keys or not store or not os.path.isdir(store):
        return {}
    from curate.store.store import DAMAGED, Store

    none: dict[str, Any] = {"model": None, "request": None, "reply": None}
    try:
        with Store.open_to_read(Path(store)) as opened:
            requests, replies = opened.requests(keys), opened.attempts(keys)
    except (CurateError, OSError) as error:
        # What the run's own files say is worth showing without it.
        return {key: {**none, "error": str(error)} for key in keys}
    found = {}
    for key in keys:
        one = dict(none)
        if key in requests:
            one |= {"model": requests[key].model, "request": requests[key].content}
        if key in replies:
            *earlier, (_, reply) = replies[key]
            if earlier:
                # Rows of a run are decided by the newest there was then; others may have asked on.
                one["earlier"] = [before.reply.text for before in earlier]
            if reply.finish_reason == DAMAGED:
                one["damaged"] = True
            else:
                one["reply"] = reply.text
                beside = {name: getattr(reply, name) for name in _BESIDE_TEXT}
                one |= {n: _written(v) for n, v in beside.items() if v != _BESIDE_TEXT[n]}
        found[key] = one
    return found


def _written(value: Any) -> Any:
    """Return a part of a reply as JSON can hold it, which has no infinite numbers."""
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
