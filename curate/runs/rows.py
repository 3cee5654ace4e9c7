"""The rows of a run and their provenance, read from its folder one outcome at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curate.errors import UsageError
from curate.read.finished_runs import description_of, published_files
from curate.row import FIELD_TYPES, KINDS, Row

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

    from curate.read.shapes.shape import Shape

# The column under which a record carries its provenance.
COLUMN = "curate"
# The columns that say why a row was dropped, and how one failed.
ENDING = ("step", "reason", "score", "partner")
# What the step `split` calls the two sides that it makes.
SIDES = ("train", "test")
FAILURE = ("step", "error", "file", "line", "raw")


class Rows:
    """The rows of one outcome, in order; iterating gives `Row` views."""

    def __init__(self, folder: Path, side: str | None = None) -> None:
        self.folder, self._side = folder, side

    def by_kind(self, side: str | None = None) -> dict[str, Rows]:
        """Return the rows of each kind that there is, on one side of a split or on all."""
        kinds = sorted({path.parent.name for path in self.files()})
        found = {kind: Rows(self.folder / kind, side or self._side) for kind in kinds}
        return {kind: rows for kind, rows in found.items() if len(rows)}

    def split(self, side: str) -> Rows:
        """Return those rows that the step `split` put on this side: `train` or `test`.

        Raises:
            UsageError: there is none.
        """
        found = Rows(self.folder, side)
        if not len(found):
            there = [name for name in ("train", "test") if len(Rows(self.folder, name))]
            if there:
                raise UsageError(
                    f"no row of {self.folder} is marked '{side}', and some as '{there[0]}': the "
                    "step `split` marks rows as 'train' or 'test', and groups of similar rows that "
                    "are larger than its `share` or `count` stay in 'train'"
                )
            raise UsageError(
                f"no row of {self.folder} is marked '{side}': the step `split` marks rows as "
                "'train' or 'test'; add it to the recipe"
            )
        return found

    def __len__(self) -> int:
        """Return the number of rows: all of them from the files' footers."""
        import pyarrow.parquet as pq

        if self._side is None:
            return sum(pq.ParquetFile(path).metadata.num_rows for path in self.files())
        notes = (pq.read_table(path, columns=["notes"]) for path in self.files())
        return sum(sum(on_side(table, self._side)) for table in notes)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, kind by kind."""
        from curate.chunk import rows_of

        for table in self.tables():
            yield from rows_of(table)

    def files(self) -> list[Path]:
        """Return the Parquet files, kind by kind, in order."""
        return published_files(self.folder)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield one table per file, with the columns that `curate.chunk` describes.

        Of `columns` only those that a file has, and scores always.
        """
        for path in self.files():
            yield working_columns(self._published(path, columns), path.parent.name)

    def _published(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of one file, as it holds them."""
        import pyarrow.parquet as pq

        file, own = pq.ParquetFile(path), ("scores", *(("notes",) if self._side else ()))
        names = None if columns is None else {*columns, *own}.intersection(file.schema_arrow.names)
        table = file.read(columns=names and sorted(names))
        return table if self._side is None else table.filter(on_side(table, self._side))

    def _all_published(self, *, why: bool) -> Iterator[tuple[str, pa.Table]]:
        """Yield each file's kind and rows; dropped ones with the columns that say why."""
        import pyarrow.compute as pc

        files = self.files()
        found = endings(self.folder.parent) if why and files and self._are_dropped else None
        for path in files:
            table = self._published(path)
            if found is not None:
                ids = table.column("id").cast(found.schema.field("row").type)
                places = pc.index_in(ids, value_set=found.column("row"))
                for name in ENDING:
                    table = table.append_column(name, found.column(name).take(places))
            yield path.parent.name, table

    @property
    def _are_dropped(self) -> bool:
        return self.folder.name == "dropped"

    def to_list(
        self, *, marks: bool = False, form: Literal["source", "kind"] = "source"
    ) -> list[dict[str, Any]]:
        """Return the rows as the records that they came as, with what steps changed in them.

        Rows that have no such record (made of others, of another kind now, read from a list of
        turns) are records of their kind: its fields, then extra columns. With `form="kind"` all
        are. An Alpaca record without `input` has an empty one. Failed ones say at which step and
        why; an unreadable line is its file, line and raw text. With `marks` each has a column
        `curate` with its id, source, parents, scores and notes; a dropped one has its step, reason,
        score and partner there, too.
        """
        from curate.chunk import rows_of

        shapes = self._shapes() if form == "source" else {}
        records = []
        for kind, table in self._all_published(why=marks):
            # A failed row says how it failed; why a row was dropped is part of its provenance.
            about = ENDING if self._are_dropped else FAILURE
            names = [name for name in about if name in table.schema.names]
            rows = rows_of(working_columns(table, kind))
            for row, end in zip(rows, table.select(names).to_pylist(), strict=True):
                if end.get("raw") is not None:
                    end["raw"] = end["raw"].decode("utf-8", "replace")
                for record in _as_read(row, shapes.get(row.seq[:2])):
                    if not self._are_dropped:
                        record |= {name: value for name, value in end.items() if value is not None}
                    said = provenance_of(row) | (end if self._are_dropped else {})
                    records.append(with_provenance(record, said) if marks else record)
        return records

    def _shapes(self) -> dict[tuple[int, ...], Shape]:
        """Return the shape of every file that the run has read, by the places of input and file."""
        from curate.read.shapes import shape

        described = next((p for p in self.folder.parents if (p / "run.yaml").is_file()), None)
        if described is None:
            return {}
        found: dict[tuple[int, ...], Shape] = {}
        numbers: dict[str, list[int]] = {}
        for entry in description_of(described)["inputs"]:
            own = numbers.setdefault(entry["input"], [len(numbers), -1])
            own[1] += 1
            found[tuple(own)] = shape(entry["shape"])
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows' files as one data frame, ids as hexadecimal text.

        Dropped rows have columns that say why: `step`, `reason`, `score` and `partner`.
        """
        import pandas as pd
        import pyarrow as pa

        frames = []
        for _, table in self._all_published(why=True):
            ids = [value.hex() for value in table.column("id").to_pylist()]
            parents = [[p.hex() for p in one] for one in table.column("parents").to_pylist()]
            text = pa.string()
            for name, column in (
                ("id", pa.array(ids, text)),
                ("parents", pa.array(parents, pa.list_(text))),
            ):
                table = table.set_column(table.column_names.index(name), name, column)
            frames.append(table.to_pandas())
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def to_datasets(self) -> datasets.Dataset:
        """Return the records as a `datasets.Dataset` with the columns of all of them.

        Where the run has read several shapes they are records of their kinds, else as they came.
        Objects whose keys differ (tools, arguments) and columns of mixed types are of `datasets`'
        JSON feature, and come back as they were.
        """
        import datasets

        from curate.rows.columnar import Form, forms_of, table_from

        alike = len({shape.name for shape in self._shapes().values()}) == 1
        records, forms = self.to_list(form="source" if alike else "kind"), dict[str, Form]()
        forms_of(records, forms)
        return datasets.Dataset(table_from(records, forms))

    def _repr_html_(self) -> str:
        from curate.runs.notebook import rows_html

        return rows_html(self, len(self), str(self.folder))

    def __repr__(self) -> str:
        """Return the number of rows and where they are."""
        return f"<{len(self):,} rows in {self.folder}>"


def on_side(table: pa.Table, side: str) -> list[bool]:
    """Tell of every row whether its notes say that it is on this side of a split."""
    # Equal notes are read once: a file holds few different ones.
    column = table.column("notes").to_pylist()
    said = {
        text: any(
            isinstance(note, dict) and note.get("split") == side
            for note in json.loads(text or "{}").values()
        )
        for text in set(column)
    }
    return [said[text] for text in column]


def working_columns(table: pa.Table, kind: str) -> pa.Table:
    """Return a published table with the columns that flow between steps."""
    import pyarrow as pa

    from curate.chunk import SCORE

    scores = table.column("scores")
    if pa.types.is_struct(scores.type):
        for field, column in zip(scores.type, scores.flatten(), strict=True):
            table = table.append_column(SCORE + field.name, column)
    table = table.drop_columns(["scores"])
    kinds = [kind if kind in KINDS else ""] * len(table)
    # Failed rows of all kinds are in one file, and a broken line is of none. The last field that
    # names a kind decides: a prompt alone makes a prompt row.
    naming = {
        "prompt": "prompt",
        "completion": "unpaired",
        "candidates": "ranked",
        "chosen": "preference",
        "messages": "sft",
    }
    for name, named in naming.items() if kind not in KINDS else ():
        if name in table.column_names:
            for index, there in enumerate(table.column(name).is_valid().to_pylist()):
                if there:
                    kinds[index] = named
    return table.append_column("kind", pa.array(kinds, pa.string()))


def _as_read(row: Row, shape: Shape | None) -> list[dict[str, Any]]:
    """Return the records that a row was read from, as it is now; else one record of its kind."""
    if shape is not None and row.kind == shape.kind:
        with contextlib.suppress(ValueError):
            written = shape.write(row)
            found = written if shape.grouped else [written]
            if all(isinstance(record, dict) for record in found):
                return list(found)
    return [as_record(row)]


def as_record(row: Row) -> dict[str, Any]:
    """Return a row as plain data: its fields, then its extra columns."""
    from curate.read.shapes.record_fields import extra_columns, turns_of

    record: dict[str, Any] = {}
    for name in KINDS.get(row.kind, ()):
        value = row.fields[name]
        if FIELD_TYPES[name] == "messages":
            value = turns_of(value)
        elif name == "candidates":
            value = [
                {
                    "messages": turns_of(c.messages),
                    "score": c.score,
                    "model": c.model,
                    **(json.loads(c.extra) if c.extra else {}),
                }
                for c in value
            ]
        record[name] = value
    return {**record, **{k: v for k, v in extra_columns(row).items() if k not in record}}


def provenance_of(row: Row) -> dict[str, Any]:
    """Return a row's id, source and parents, and what steps gave and noted it, by label."""
    return {
        "id": row.id,
        "source": row.source,
        "parents": list(row.parents),
        # Not empty mappings: Parquet has no structs without fields.
        "scores": dict(row.scores) or None,
        "notes": json.loads(row.notes) if row.notes else None,
    }


def with_provenance(record: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its provenance in a column of its own.

    Raises:
        UsageError: the record has a column of that name.
    """
    if COLUMN in record:
        raise UsageError(
            f"row {provenance['id']} has a column '{COLUMN}' of its own, where its provenance "
            "would go; take the rows without marks, or rename the column first"
        )
    return {**record, COLUMN: dict(provenance)}


def endings(run: Path) -> pa.Table:
    """Return why each dropped row of a run was dropped: `row`, and the columns of `ENDING`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # A run whose steps had nothing to say has no ledger.
    text, binary = pa.string(), pa.binary(16)
    types = {"row": binary, "step": text, "reason": text, "score": pa.float64(), "partner": binary}
    tables = [pa.schema(list(types.items())).empty_table()]
    for path in published_files(run / "ledger"):
        table = pq.read_table(path, columns=["row", *ENDING, "outcome"])
        dropped = table.filter(pc.equal(table.column("outcome"), "dropped"))
        tables.append(dropped.drop_columns(["outcome"]))
    whole = pa.concat_tables(tables)
    partners = [one and one.hex() for one in whole.column("partner").to_pylist()]
    at = whole.column_names.index("partner")
    return whole.set_column(at, "partner", pa.array(partners, pa.string()))
