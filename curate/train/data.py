"""The rows that a run learns from: the kept rows of a curate run, or a file of any shape.

Rows of a file are named by their place (`pairs.jsonl:17`), those of a run by their id, so that
every later message points at something that can be looked up. A run's side is known: rows that the
step `split` put aside are held out. All rows are held in memory, as their tokens are later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.read.shapes.record_fields import extra_columns
from curate.row import Message, Row, seed_of
from curate.rows.other_kinds import way_to
from curate.train.settings import Method, methods


class Source(NamedTuple):
    """Where rows come from: what a card and the check say of it."""

    name: str
    run: Path | None = None
    recipe: str | None = None


class Unread(NamedTuple):
    """A record that is not a row of this file's shape."""

    file: str
    line: int | None
    error: str


class TrainingData(NamedTuple):
    """Rows to learn from and rows held out, and what was left aside while reading."""

    source: Source
    rows: list[Row]
    held_out: list[Row]
    unread: list[Unread]
    # Kinds of the run that this method does not learn from, with their counts.
    other_kinds: dict[str, int]


def read_data(where: str, method: Method, shape: str | None = None) -> TrainingData:
    """Read the rows at `where`, a run folder or whatever `curate run` reads.

    Raises:
        UsageError: nothing there can be read, or `method` does not learn from such rows.
    """
    if (Path(where) / "report.json").is_file():
        from curate.runs.rows import Rows

        run, recipe = Path(where), Path(where) / "run.yaml"
        source = Source(str(run), run, str(recipe) if recipe.is_file() else None)
        sides: tuple[list[Row], list[Row]] = ([], [])
        for row in Rows(run / "kept"):
            # The step `split` notes the side on which it put a row: `train` or `test`.
            notes = (json.loads(row.notes) if row.notes else {}).values()
            found = (note["split"] for note in notes if isinstance(note, dict) and "split" in note)
            sides[next(found, None) == "test"].append(row)
        data = TrainingData(source, *sides, [], {})
    else:
        data = _of_files(where, shape)
    kinds: dict[str, int] = {}
    for row in (*data.rows, *data.held_out):
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    taken = next((kind for kind in method.learns_from if kind in kinds), None)
    if taken is None:
        if not kinds:
            raise UsageError(f"{where} holds no row to learn from")
        there = " and ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        others = [m.name for m in methods().values() if set(m.learns_from[:2]) & set(kinds)]
        raise UsageError(
            f"{method.name} learns from {' or '.join(method.learns_from)} rows, and {where} holds "
            f"{there} rows; train those with {', '.join(others)}"
            f"{way_to(method.learns_from[0], kinds)}"
        )
    del kinds[taken]
    rows = [row for row in data.rows if row.kind == taken]
    held_out = [row for row in data.held_out if row.kind == taken]
    if method.name == "kto":
        rows = [one for row in rows for one in unpaired(row)]
        held_out = [one for row in held_out for one in unpaired(row)]
    return data._replace(rows=rows, held_out=held_out, other_kinds=kinds)


def _of_files(where: str, shape: str | None) -> TrainingData:
    """Read files of any shape; their rows are named by their place among a file's records."""
    import pyarrow as pa

    from curate.chunk import rows_of
    from curate.read import open_inputs
    from curate.read.to_rows import read_part

    rows: list[Row] = []
    unread: list[Unread] = []
    before = Counter[str]()
    for part in open_inputs(where, shape=shape).parts():
        found, first = read_part(part), before[part.file] + 1
        count = len(found.table)
        table = found.table.append_column("id", pa.array([b""] * count, pa.binary()))
        table = table.append_column("seq", pa.array([[0]] * count, pa.list_(pa.int64())))
        for ordinal, row in zip(found.ordinals.tolist(), rows_of(table), strict=True):
            rows.append(row._replace(id=f"{part.file}:{first + ordinal}", source=part.file))
        unread += [Unread(part.file, first + one.ordinal, one.error) for one in found.unreadable]
        before[part.file] += count + len(found.unreadable)
    return TrainingData(Source(where), rows, [], unread, {})


def hold_out(data: TrainingData, share: float | str, method: Method, seed: int) -> TrainingData:
    """Return `data` with a share of its prompts, or the rows of a file or run, held out.

    Rows of one prompt stay on one side: pairs of a ranking never straddle it.

    Raises:
        UsageError: a share is wanted of rows of which a `split` has held some out already.
    """
    if isinstance(share, str):
        other = read_data(share, method)
        kinds = Counter(data.other_kinds) + Counter(other.other_kinds)
        return data._replace(
            held_out=[*other.rows, *other.held_out],
            unread=[*data.unread, *other.unread],
            other_kinds=dict(kinds),
        )
    if not share:
        return data
    if data.held_out:
        raise UsageError(
            f"held_out: {share} is a share, but the split of {data.source.name} holds out "
            f"{len(data.held_out):,} rows already; leave held_out out to use those, or name a file"
        )
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in data.rows:
        draw = seed_of("held out", prompt_key(row), seed) / 2**64
        sides[draw < share].append(row)
    return data._replace(rows=sides[0], held_out=sides[1])


def unpaired(row: Row) -> Iterator[Row]:
    """Yield a pair as two marked answers, the chosen one first; any other row as it is."""
    if row.kind != "preference":
        yield row
        return
    for name, label in (("chosen", True), ("rejected", False)):
        fields = {"prompt": row.prompt, "completion": row.fields[name], "label": label}
        yield row._replace(id=f"{row.id} ({name})", kind="unpaired", fields=fields)


def prompt_turns(row: Row) -> tuple[Message, ...]:
    """Return what is asked in a row: its prompt; of a conversation, all before the last answer."""
    if row.kind != "sft":
        return row.prompt
    last = max((n for n, turn in enumerate(row.messages) if turn.role == "user"), default=-1)
    return row.messages[: last + 1]


def prompt_key(row: Row) -> str:
    """Return a text that rows with the same prompt share."""
    return json.dumps([list(turn) for turn in prompt_turns(row)], ensure_ascii=False)


def extras(row: Row) -> dict[str, Any]:
    """Return a row's extra columns."""
    return extra_columns(row)


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the names of extra columns and of numbers that rows have."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(extras(row)))
        numbers = ("margin", "p_chosen")
        names.update({n: None for n in numbers if row.fields.get(n) is not None})
    return list(names)
