"""Write rows to a file in a shape that trainers and tools read; the file appears as a whole.

Rows stream: a line at a time for text formats, 16,384 at a time for Parquet. A row that the shape
cannot hold is an error that names the loss, and no file appears (the files of a run's own folder
come from `engine.output.run_files`). So is one that is written in
another form than the rows before it: a column of texts and of messages is read by nobody.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import functools
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from curate.errors import ShapeMisfit, UsageError
from curate.read.shapes import names as shape_names
from curate.read.shapes import shape as shape_called
from curate.read.shapes.mapped import PREFIX
from curate.read.shapes.record_fields import dumps
from curate.row import Row
from curate.rows.other_kinds import way_to
from curate.runs.rows import provenance_of, with_provenance
from curate.runs.written import put
from curate.system.credentials import WRITE_LATER, refuse_address
from curate.system.posix import UnfinishedFile
from curate.write.formats import Format, formats

if TYPE_CHECKING:
    import pyarrow as pa

# How each kind leaves when no shape is asked for.
NATURAL = {
    "prompt": "prompt",
    "sft": "messages",
    "preference": "preference",
    "ranked": "ranked",
    "unpaired": "unpaired",
}
# Columns that some shapes write as texts or as messages.
_SIDES = frozenset(("prompt", "completion", "chosen", "rejected"))
Records = Iterator[dict[str, Any]]


def write_rows(
    tables: Iterable[pa.Table],
    path: str | Path,
    shape: str | None = None,
    *,
    marks: bool = False,
    run: Path | None = None,
) -> int:
    """Write the rows of `tables` (columns as in `curate.chunk`) to `path`; return how many.

    With `marks` each has a column `curate` with its id, source, parents, scores and notes. The run
    in the folder `run` notes the file as its own.

    Raises:
        UsageError: the path is an address, its ending names no known format, a row does not fit
            the shape, or another process is writing the file.
    """
    check_target(path, shape)
    path = Path(path)
    ending = _ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    counted = _Counted(_records(tables, shape, marks=marks))
    with contextlib.closing(UnfinishedFile(path)) as draft:
        _write(counted, draft.path, ending)
        put(draft.path, path, run)
    return counted.count


def check_target(path: str | Path, shape: str | None) -> None:
    """Raise `UsageError` when no file could be written at `path`, or none in this shape."""
    refuse_address(path, "an output", WRITE_LATER)
    _ending(Path(path))
    if shape is not None:
        kind_of(shape)


class _Counted:
    """Count records as they pass."""

    def __init__(self, records: Records) -> None:
        self._records, self.count = records, 0

    def __iter__(self) -> Records:
        for record in self._records:
            self.count += 1
            yield record


def _records(tables: Iterable[pa.Table], shape: str | None, *, marks: bool) -> Records:
    from curate.chunk import rows_of

    forms: dict[str, type] = {}
    for table in tables:
        for row in rows_of(table):
            for record in records_as(row, shape or NATURAL[row.kind]):
                _check_forms(row, record, forms)
                yield with_provenance(record, provenance_of(row)) if marks else record


def _check_forms(row: Row, record: Mapping[str, Any], forms: dict[str, type]) -> None:
    """Raise `UsageError` where a side of `record` has another form than those before (`forms`)."""
    # A record of `turn_list` is a list, and has no sides.
    for name in _SIDES.intersection(record) if isinstance(record, Mapping) else ():
        if forms.setdefault(name, type(record[name])) is not type(record[name]):
            text = isinstance(record[name], str)
            here, before = ("a text", "messages") if text else ("messages", "texts")
            raise ShapeMisfit(
                f"row {row.id}: its {name} would be {here}, and those of the rows before "
                f"it are {before}; a file has one form: choose a shape that is always "
                "messages (messages, trl_sft, trl_dpo, trl_kto ...), or drop such rows "
                "first"
            )


def records_as(row: Row, name: str) -> list[dict[str, Any]]:
    """Return the records that one row is in the shape or format `name`: mostly one.

    Raises:
        UsageError: the row does not fit the shape.
    """
    found = as_shape(row, name)
    return list(found) if _format(NATURAL.get(name, name)).several else [found]


def as_shape(row: Row, name: str) -> Any:
    """Return one row in the shape or format `name`, or raise `UsageError` naming the misfit.

    A record kind stands for its natural shape.
    """
    form = _format(NATURAL.get(name, name))
    if row.kind != form.kind:
        raise ShapeMisfit(f"row {row.id}: {misfit(name, [row.kind])}")
    try:
        return form.from_row(row)
    except ValueError as error:
        raise ShapeMisfit(
            f"row {row.id} does not fit the shape '{name}': {error}; choose another shape, or drop "
            "such rows first"
        ) from error


def misfit(name: str, kinds: Iterable[str]) -> str:
    """Say that rows of these kinds have not the shape `name`, what it would lose, and which fit."""
    found = sorted(kinds)
    natural = " and ".join(f"'{NATURAL[kind]}'" for kind in found)
    lost = shape_called(name).lost if name in shape_names() else None
    return (
        f"the shape '{name}' holds {kind_of(name)} rows, and those to be written are "
        f"{', '.join(found)} rows, whose own shape is {natural}"
        f"{f'; lost would be {lost}' if lost else ''}{way_to(kind_of(name), found)}"
    )


def kind_of(name: str) -> str:
    """Return the kind of rows that the shape or format `name` holds."""
    return _format(NATURAL.get(name, name)).kind


def format_names() -> list[str]:
    """Return the names of every shape and format that rows can leave in."""
    return sorted([*formats(), *shape_names()])


@functools.cache
def _format(name: str) -> Format:
    if name in formats():
        return formats()[name]
    if name not in shape_names() and not name.startswith(PREFIX):
        known = format_names()
        meant = [one for one in known if one.startswith(f"{name}_")]
        if meant:
            # A consumer's name alone: it has a format for each task.
            tasks = ", ".join(f"{one} ({kind_of(one)} rows)" for one in meant)
            raise UsageError(f"'{name}' is not a shape by itself; choose one of {tasks}")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise UsageError(f"unknown shape '{name}'{hint} Known: {', '.join(known)}")
    form = shape_called(name)
    return Format(form.kind, form.write, form.grouped)


_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet", ".csv", ".tsv")


def _ending(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.endswith(ending):
            return ending
    raise UsageError(f"{path}: cannot tell its format; allowed endings: {', '.join(_ENDINGS)}")


def path_of_part(path: Path, *parts: str | None) -> Path:
    """Return the path of a part of what would be at `path`: `rows.train.jsonl` of `rows.jsonl`."""
    ending = _ending(path)
    names = [path.name.removesuffix(ending), *(part for part in parts if part is not None)]
    return path.with_name(".".join(names) + ending)


def _write(records: Iterable[Mapping[str, Any]], path: Path, ending: str) -> None:
    """Write the file at `path` as its final name's ending says."""
    if ending == ".parquet":
        from curate.write.parquet import write_parquet

        write_parquet(records, path)
    elif ending in (".csv", ".tsv"):
        _write_table(records, path, "," if ending == ".csv" else "\t")
    elif ending == ".jsonl.gz":
        # No name and no time in the header: equal rows make equal bytes.
        with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as packed:
            _write_lines(records, io.TextIOWrapper(cast(Any, packed), encoding="utf-8"))
    elif ending == ".jsonl.zst":
        import pyarrow as pa

        with pa.output_stream(str(path), compression="zstd") as packed:
            for record in records:
                packed.write((dumps(record) + "\n").encode())
    else:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            if ending == ".jsonl":
                _write_lines(records, file)
                return
            file.write("[")
            for number, record in enumerate(records):
                file.write((",\n" if number else "\n") + dumps(record))
            file.write("\n]\n")


def _write_lines(records: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    for record in records:
        file.write(dumps(record) + "\n")
    file.flush()


def _write_table(records: Iterable[Mapping[str, Any]], path: Path, delimiter: str) -> None:
    """Write a table; every record must have the first one's columns, lists become JSON text."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for number, record in enumerate(records):
            if writer is None:
                writer = csv.DictWriter(file, list(record), delimiter=delimiter)
                writer.writeheader()
            if set(record) != set(writer.fieldnames):
                other = ", ".join(sorted(set(record) ^ set(writer.fieldnames)))
                raise ShapeMisfit(
                    f"row {number + 1} differs from the first in its columns ({other}); a table "
                    "has one set of columns: write .jsonl instead"
                )
            writer.writerow({k: v if isinstance(v, str) else dumps(v) for k, v in record.items()})
