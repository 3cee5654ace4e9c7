"""What a run left: its rows by outcome, its report, and the life of each row.

A result reads the files of a run folder when asked, so it costs nothing to hold and is the same
object whether the run ended a second or a month ago.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.marks import ENDING, endings, marked, marks_of, with_endings
from curate.report import Failure, render
from curate.row import FIELD_TYPES, KINDS, Row
from curate.spread import spreads

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

    from curate.explain import Life
    from curate.lookup import Examples
    from curate.pipeline import Pipeline


class Rows:
    """The rows of one outcome, in order; iterating gives `Row` views."""

    def __init__(self, folder: Path, side: str | None = None) -> None:
        self.folder, self._side = folder, side

    def split(self, side: str) -> Rows:
        """Return those rows that the step `split` put on this side: `train` or `test`.

        Raises:
            UsageError: there is none.
        """
        found = Rows(self.folder, side)
        if not len(found):
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
        return sum(sum(_on_side(table, self._side)) for table in notes)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, kind by kind."""
        from curate.chunk import rows_of

        for table in self.tables():
            yield from rows_of(table)

    def files(self) -> list[Path]:
        """Return the Parquet files, kind by kind, in order."""
        return sorted(self.folder.rglob("*.parquet"))

    def tables(self) -> Iterator[pa.Table]:
        """Yield one table per file, with the columns that `curate.chunk` describes."""
        for path in self.files():
            yield working_columns(self._published(path), path.parent.name)

    def _published(self, path: Path) -> pa.Table:
        """Return the rows of one file, as it holds them."""
        import pyarrow.parquet as pq

        table = pq.ParquetFile(path).read()
        return table if self._side is None else table.filter(_on_side(table, self._side))

    def _all_published(self, *, why: bool) -> Iterator[tuple[str, pa.Table]]:
        """Yield each file's kind and rows; dropped ones with the columns that say why."""
        files = self.files()
        found = endings(self.folder.parent) if why and files and self._are_dropped else None
        for path in files:
            table = self._published(path)
            yield path.parent.name, table if found is None else with_endings(table, found)

    @property
    def _are_dropped(self) -> bool:
        return self.folder.name == "dropped"

    def to_list(self, *, marks: bool = False) -> list[dict[str, Any]]:
        """Return the rows as records: their fields, and the extra columns that came with them.

        Failed ones say at which step and why; an unreadable line is its file, line and raw text.
        With `marks` each has a column `curate` with its id, source, parents, scores and notes; a
        dropped one has its step, reason, score and partner there, too.
        """
        from curate.chunk import rows_of

        records = []
        for kind, table in self._all_published(why=marks):
            none: list[dict[str, Any]] = [{}] * len(table)
            failures = none if self._are_dropped else _failures(table)
            ends = table.select(ENDING).to_pylist() if marks and self._are_dropped else none
            rows = rows_of(working_columns(table, kind))
            for row, failure, end in zip(rows, failures, ends, strict=True):
                record = {**as_record(row), **failure}
                records.append(marked(record, {**marks_of(row), **end}) if marks else record)
        return records

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows' files as one data frame, ids as hexadecimal text.

        Dropped rows have columns that say why: `step`, `reason`, `score` and `partner`.
        """
        import pandas as pd

        frames = [readable_ids(t).to_pandas() for _, t in self._all_published(why=True)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def to_datasets(self) -> datasets.Dataset:
        """Return the records as a `datasets.Dataset` with the columns of all of them.

        Raises:
            UsageError: a column holds values of several types, which a table cannot.
        """
        import datasets
        import pyarrow as pa

        records = self.to_list()
        # Not `from_list`, which takes the first record's columns and drops all others.
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: [record.get(name) for record in records] for name in names}
        try:
            return datasets.Dataset.from_dict(columns)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UsageError(
                f"a column holds values of several types ({error}); take to_list() instead"
            ) from error

    def __repr__(self) -> str:
        """Return the number of rows and where they are."""
        return f"<{len(self):,} rows in {self.folder}>"


class Result:
    """A finished run.

    `summary` is `report.json`; `exit_code` what the command line returns; `message` says why a run
    fell short, if it did.
    """

    def __init__(
        self,
        folder: Path,
        summary: Mapping[str, Any],
        exit_code: int = 0,
        message: str | None = None,
        *,
        pipeline: Pipeline | None = None,
        inputs: Any = None,
    ) -> None:
        self.folder, self.summary = folder, summary
        self.exit_code, self.message = exit_code, message
        self._pipeline, self._inputs = pipeline, inputs

    @classmethod
    def open(cls, folder: str | Path) -> Result:
        """Open the run in `folder`, or raise `UsageError` when there is no finished one."""
        path = Path(folder)
        report = path / "report.json"
        if not report.is_file():
            if (path / ".state").is_dir():
                raise UsageError(
                    f"{path} holds a run that has not finished (no report.json): the same command "
                    f"goes on with it, and `curate report {path}` tells what it has spent so far"
                )
            raise UsageError(f"{path} holds no run (no report.json); run its recipe first")
        return cls(path, json.loads(report.read_text(encoding="utf-8")))

    @property
    def kept(self) -> Rows:
        """Rows that passed every step."""
        return Rows(self.folder / "kept")

    @property
    def used(self) -> Rows:
        """Rows that were replaced by the rows made from them."""
        return Rows(self.folder / "used")

    @property
    def dropped(self) -> Rows:
        """Rows that a rule refused."""
        return Rows(self.folder / "dropped")

    @property
    def failed(self) -> Rows:
        """Rows on which a step failed, and lines that could not be read."""
        return Rows(self.folder / "failed")

    def report(self, *, scores: bool = False) -> str:
        """Return the funnel as a text for people; with `scores`, how each step's are spread."""
        spread = spreads(self.folder, self.recipe["labels"]) if scores else ()
        return render(self.summary, self._failures(), spread)

    def _failures(self) -> list[Failure]:
        """Return the errors of failed rows, the most frequent first; unreadable lines have none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.summary["failed"]:
            return []
        names = ["step", "error"]
        tables = [pq.read_table(path, columns=names) for path in self.failed.files()]
        if not tables:
            return []
        grouped = pa.concat_tables(tables).group_by(names).aggregate([([], "count_all")])
        found = [Failure(g["step"], g["error"], g["count_all"]) for g in grouped.to_pylist()]
        failures = [failure for failure in found if failure.step != "read"]
        return sorted(failures, key=lambda f: (-f.rows, f.step, f.error))

    def explain(self, row: str) -> Life:
        """Return the whole life of the row whose id begins with `row`."""
        from curate.explain import explain

        return explain(self.folder, row)

    def examples(self, most: int = 3, step: str | None = None) -> list[Examples]:
        """Return every reason for which rows were dropped or failed, with `most` rows of each.

        With a `step` (its label) only its own: the rows whose scores are closest to its rule, each
        with the kept row that it was compared with.
        """
        from curate.lookup import examples

        return examples(self.folder, self.recipe["labels"], most, step)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe, inputs and versions, as `run.yaml` holds them."""
        import yaml

        data = yaml.safe_load((self.folder / "run.yaml").read_text(encoding="utf-8"))
        return dict(data)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that made this run."""
        if self._pipeline is None:
            import yaml

            from curate.pipeline import Pipeline

            self._pipeline = Pipeline.from_yaml(yaml.safe_dump(self.recipe["recipe"]))
        return self._pipeline

    def rethreshold(self, **rules: Any) -> Result:
        """Run again with other rules, in a sibling folder, under the same ceilings.

        Each keyword is a step's label; its value is a mapping of rules, or one value where the step
        has one rule only (or one that is set). Stored replies answer what was asked before.
        """
        from curate.rethreshold import rethreshold

        return rethreshold(self, rules, self._inputs)

    def __repr__(self) -> str:
        """Return the folder and the counts."""
        counts = ", ".join(f"{self.summary.get(n)} {n}" for n in ("kept", "dropped", "failed"))
        return f"<Result {self.folder}: {counts}>"


def _on_side(table: pa.Table, side: str) -> list[bool]:
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


def _failures(table: pa.Table) -> list[dict[str, Any]]:
    """Return how each row of a table failed: nothing, where it holds no failed rows."""
    names = [
        name for name in ("step", "error", "file", "line", "raw") if name in table.schema.names
    ]
    found = []
    for line in table.select(names).to_pylist():
        if line.get("raw") is not None:
            line["raw"] = line["raw"].decode("utf-8", "replace")
        found.append({name: value for name, value in line.items() if value is not None})
    return found


def readable_ids(table: pa.Table) -> pa.Table:
    """Return a table with `id` and `parents` as hexadecimal text, for people and data frames."""
    import pyarrow as pa

    ids = [value.hex() for value in table.column("id").to_pylist()]
    parents = [[p.hex() for p in value] for value in table.column("parents").to_pylist()]
    table = table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))
    at = table.column_names.index("parents")
    return table.set_column(at, "parents", pa.array(parents, pa.list_(pa.string())))


def working_columns(table: pa.Table, kind: str) -> pa.Table:
    """Return a published table with the columns that flow between steps."""
    import pyarrow as pa

    from curate.chunk import SCORE

    scores = table.column("scores")
    if pa.types.is_struct(scores.type):
        for field, column in zip(scores.type, scores.flatten(), strict=True):
            table = table.append_column(SCORE + field.name, column)
    table = table.drop_columns(["scores"])
    kinds = [kind] * len(table) if kind in KINDS else _kinds_by_fields(table)
    return table.append_column("kind", pa.array(kinds, pa.string()))


def _kinds_by_fields(table: pa.Table) -> list[str]:
    """Return the kind of each failed row, from the fields that it has; none for a broken line."""
    present = {
        name: table.column(name).is_valid().to_pylist()
        for name in FIELD_TYPES
        if name in table.column_names
    }
    # The last field that names a kind decides: a prompt alone makes a prompt row.
    order = (("prompt", "prompt"), ("completion", "unpaired"), ("candidates", "ranked"))
    order += (("chosen", "preference"), ("messages", "sft"))  # type: ignore[assignment]
    kinds = [""] * len(table)
    for name, kind in order:
        for index, there in enumerate(present.get(name, ())):
            if there:
                kinds[index] = kind
    return kinds


def as_record(row: Row) -> dict[str, Any]:
    """Return a row as plain data: its fields, then its extra columns."""
    from curate.read.shapes.fields import extra_columns, turns_of

    record: dict[str, Any] = {}
    for name in KINDS.get(row.kind, ()):
        value = row.fields[name]
        if FIELD_TYPES[name] == "messages":
            value = turns_of(value)
        elif name == "candidates":
            value = [
                {"messages": turns_of(c.messages), "score": c.score, "model": c.model}
                for c in value
            ]
        record[name] = value
    return {**record, **{k: v for k, v in extra_columns(row).items() if k not in record}}
