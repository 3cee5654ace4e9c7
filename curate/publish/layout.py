"""The files of a dataset: kinds of rows as configurations, sides of a split as splits, Parquet.

Parquet has one type a column, and reading it fills keys that a value lacks with nulls: a model
would be trained on arguments that no call had. So what differs in form from row to row (tools,
arguments of calls, nested extra columns) travels as JSON text, as arguments do in OpenAI's format.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import UsageError
from curate.runs.rows import SIDES, Rows
from curate.write import NATURAL, cut, kind_of, misfit, records_as

if TYPE_CHECKING:
    import pyarrow as pa

# Fields whose value is a list of turns; of them only calls hold what differs in form.
_TURNS = ("messages", "prompt", "completion", "chosen", "rejected")


class SplitFiles(NamedTuple):
    """One split of one configuration: its rows, columns and files below the dataset's folder."""

    config: str
    split: str
    rows: int
    schema: pa.Schema
    files: tuple[str, ...]


def write_parts(kept: Rows, folder: Path, split: str | None, shape: str | None) -> list[SplitFiles]:
    """Write the kept rows of a run below `folder/data`; return what was written.

    Args:
        kept: the rows, with a folder per kind.
        folder: where the dataset's files go.
        split: only the rows of this side; by default both, where rows were split.
        shape: the shape to write; by default each kind's own.

    Raises:
        UsageError: there is nothing to write, or it does not fit the shape.
    """
    import pyarrow.parquet as pq

    from curate.write.parquet import write_parquet

    kinds = sorted({path.parent.name for path in kept.files()})
    by_kind = {kind: rows for kind in kinds if len(rows := Rows(kept.folder / kind))}
    if not by_kind:
        raise UsageError(f"{kept.folder} holds no row, so there is nothing to push")
    if shape is not None and set(by_kind) != {kind_of(shape)}:
        raise UsageError(misfit(shape, by_kind))
    parts = []
    for kind, rows in by_kind.items():
        config = kind if len(by_kind) > 1 else "default"
        target = folder / "data" / config
        for side, some in _sides(rows, split):
            records = (
                {name: _as_column(name, value) for name, value in record.items()}
                for row in some
                for record in records_as(row, shape or NATURAL[kind])
            )
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as aside:
                whole, shards = Path(aside) / "whole.parquet", Path(aside) / "shards"
                write_parquet(records, whole)
                cut(whole, shards, split=side)
                files = [path.replace(target / path.name) for path in sorted(shards.iterdir())]
            schema = pq.read_schema(files[0])
            count = sum(pq.read_metadata(path).num_rows for path in files)
            names = tuple(path.relative_to(folder).as_posix() for path in files)
            parts.append(SplitFiles(config, side, count, schema, names))
    return parts


# Columns that trainers read as objects (TRL, and verl), not as JSON text.
_OBJECTS = ("chat_template_kwargs", "reward_model", "extra_info")


def _sides(rows: Rows, split: str | None) -> list[tuple[str, Rows]]:
    """Return the splits with their rows."""
    if split is not None:
        return [(split, rows.split(split))]
    sides = {side: Rows(rows.folder, side) for side in SIDES}
    counts = {side: len(some) for side, some in sides.items()}
    if not any(counts.values()):
        return [("train", rows)]
    if sum(counts.values()) < len(rows):
        raise UsageError(
            f"{len(rows) - sum(counts.values()):,} rows of {rows.folder} are marked neither "
            "'train' nor 'test'; let the step `split` see all rows, or push one side: --split train"
        )
    return [(side, sides[side]) for side in SIDES if counts[side]]


def _as_column(name: str, value: Any) -> Any:
    """Return a value of a form that all rows share."""
    if name in _TURNS and isinstance(value, list):
        return [_turn(turn) for turn in value]
    if name == "candidates" and isinstance(value, list):
        return [{k: _as_column(k, v) for k, v in one.items()} for one in value]
    if name not in _OBJECTS and (
        isinstance(value, Mapping) or (isinstance(value, list) and _has_mapping(value))
    ):
        return _text(value)
    return value


def _turn(turn: Any) -> Any:
    """Return a turn whose calls, and whatever else is nested in it, are of one form."""
    if not isinstance(turn, Mapping):
        return turn
    out = dict(turn)
    for name, value in turn.items():
        if name == "tool_calls" and isinstance(value, list):
            calls = out[name] = list(value)
            for number, call in enumerate(calls):
                function = call.get("function") if isinstance(call, Mapping) else None
                if isinstance(function, Mapping) and not isinstance(function.get("arguments"), str):
                    text = _text(function.get("arguments"))
                    calls[number] = {**call, "function": {**function, "arguments": text}}
        elif isinstance(value, Mapping | list):
            out[name] = _text(value)
    return out


def _has_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_has_mapping, value)))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
