"""`curate compare`: what differs between two runs, and which rows ended differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from curate.cli.flags import Debug, runs_that_begin
from curate.errors import UsageError
from curate.read.finished_runs import is_run, published_files
from curate.runs.report import ENDINGS

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.pipeline import Result

COUNTS = ("in", "made", *ENDINGS)


class Moved(NamedTuple):
    """A row that ended differently; `None` means that a run does not have it."""

    row: str
    before: str | None
    after: str | None
    why: str
    text: str


def command(
    first: Annotated[str, typer.Argument(metavar="RUN|FILE", autocompletion=runs_that_begin)],
    second: Annotated[str, typer.Argument(metavar="RUN|FILE", autocompletion=runs_that_begin)],
    count: Annotated[int, typer.Option("-n", min=0, help="How many changed rows to show.")] = 10,
    datasets: Annotated[
        bool,
        typer.Option(
            "--datasets", help="Compare the rows of two runs or files of data as datasets."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Compare two runs: counts, reasons, and the rows that ended differently.

    With --datasets, compare what two runs kept, or two files of data: cost, quality, preference,
    writing style, scale, creativity and diversity, a blank where there is nothing to tell.
    """
    import json

    from curate.cli.text_layout import headed
    from curate.pipeline import Result

    if datasets:
        table = compared_datasets(first, second)
        if as_json:
            typer.echo(json.dumps(table, indent=1, ensure_ascii=False))
        else:
            typer.echo(headed("\n".join(_dataset_lines(table, first, second))))
        return
    runs = (Result.open(first), Result.open(second))
    found = compared(runs, count)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, default=Moved._asdict))
    else:
        typer.echo(headed("\n".join(_lines(found, first, second))))


def compared_datasets(first: str, second: str) -> dict[str, dict[str, list[float | None]]]:
    """Return the table of two datasets, each a run folder (its kept rows) or data."""
    import tempfile

    from curate.pipeline import Pipeline, Result
    from curate.runs.dataset_table import Dataset, dataset_table

    with tempfile.TemporaryDirectory(prefix="curate-compare-") as folder:
        opened = []
        for number, source in enumerate((first, second)):
            if is_run(Path(source)):
                run = Result.open(source)
            else:
                at = Path(folder) / str(number)
                run = Pipeline([], inputs=source).run(run=at, store=at)
            if not len(run.kept):
                raise UsageError(f"{source} has no rows to compare")
            opened.append(Dataset(run.kept, run.summary))
        return dataset_table(*opened)


def _dataset_lines(
    found: Mapping[str, Mapping[str, Sequence[float | None]]], first: str, second: str
) -> Iterator[str]:
    """Yield the table of two datasets as text; a group without data is a line of its own."""
    from curate.cli.text_layout import table

    names = [Path(source).name for source in (first, second)]
    cells = []
    for group, measures in found.items():
        cells.append([group, "", ""])
        for name, values in measures.items():
            cells.append([f"  {name}", *("" if v is None else f"{v:,.6g}" for v in values)])
    yield table(["", *(names if len(set(names)) == 2 else (first, second))], cells)


def compared(runs: tuple[Result, Result], count: int) -> dict[str, Any]:
    """Return the difference between two runs as data, with `count` changed rows at most."""
    import difflib

    import pyarrow.compute as pc

    from curate.recipe.yaml import dump

    reasons: dict[tuple[str, str], list[int]] = {}
    remarks: dict[tuple[str, str], list[str | None]] = {}
    for index, run in enumerate(runs):
        for step in run.summary["steps"]:
            for reason, number in step["reasons"].items():
                reasons.setdefault((step["label"], reason), [0, 0])[index] = number
            for remark in step.get("remarks", ()):
                name, _, value = remark.partition(": ")
                remarks.setdefault((step["label"], name), [None, None])[index] = value
    figures: dict[tuple[str, str], list[float | None]] = {}
    for index, run in enumerate(runs):
        for label, values in run.summary.get("figures", {}).items():
            for name, value in values.items():
                figures.setdefault((label, name), [None, None])[index] = value
    old, new = (dump(run.recipe["recipe"]).splitlines() for run in runs)
    names = (str(runs[0].folder), str(runs[1].folder))
    first, second = (_endings(run, name) for run, name in zip(runs, ("a", "b"), strict=True))
    joined = first.join(second, keys="id", join_type="full outer")
    same = pc.fill_null(pc.equal(joined["a"], joined["b"]), False)
    moved = joined.filter(pc.invert(same)).sort_by("id")
    grouped = moved.group_by(["a", "b"]).aggregate([("id", "count")]).to_pylist()
    moves = [{"from": g["a"], "to": g["b"], "rows": g["id_count"]} for g in grouped]
    some = moved.slice(0, count).to_pylist()
    ids = [line["id"] for line in some]
    # The second run's reason wins: it is the newer one.
    why = {**_reasons(runs[0], ids), **_reasons(runs[1], ids)}
    texts = {**_texts(runs[0], ids), **_texts(runs[1], ids)}
    return {
        "counts": {name: [run.summary[name] for run in runs] for name in COUNTS},
        "reasons": [
            {"step": label, "reason": reason, "counts": pair}
            for (label, reason), pair in reasons.items()
            if pair[0] != pair[1]
        ],
        "remarks": [
            {"step": label, "remark": name, "values": values}
            for (label, name), values in remarks.items()
            if values[0] != values[1]
        ],
        "figures": [
            {"step": label, "figure": name, "values": pair}
            for (label, name), pair in figures.items()
            if pair[0] != pair[1]
        ],
        "recipe": list(difflib.unified_diff(old, new, *names, lineterm="")),
        "moves": sorted(moves, key=lambda m: (-m["rows"], str(m["from"]), str(m["to"]))),
        "rows": [
            Moved(m["id"].hex(), m["a"], m["b"], why.get(m["id"], ""), texts.get(m["id"], ""))
            for m in some
        ],
    }


def _endings(run: Result, name: str) -> pa.Table:
    """Return the ids of a run, each with its outcome in the column `name`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.binary()), (name, pa.string())])
    tables = [schema.empty_table()]
    for section in ENDINGS:
        for path in getattr(run, section).files():
            ids = pq.read_table(path, columns=["id"]).column("id").cast(pa.binary())
            ends = pa.array([section] * len(ids), pa.string())
            tables.append(pa.table([ids, ends], schema=schema))
    return pa.concat_tables(tables)


def _reasons(run: Result, ids: Sequence[bytes]) -> dict[bytes, str]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    why = {}
    for path in published_files(run.folder / "ledger") if ids else ():
        table = pq.read_table(path, columns=["row", "step", "outcome", "reason"])
        hits = table.filter(pc.is_in(table["row"], pa.array(ids, table["row"].type)))
        for line in hits.to_pylist():
            if line["outcome"] in ("dropped", "failed"):
                why[line["row"]] = f"{line['step']}: {line['reason']}"
    return why


def _texts(run: Result, ids: Sequence[bytes]) -> dict[bytes, str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import rows_of

    texts = {}
    for section in ENDINGS if ids else ():
        for table in getattr(run, section).tables():
            hits = table.filter(pc.is_in(table["id"], pa.array(ids, table["id"].type)))
            for row in rows_of(hits):
                texts[bytes.fromhex(row.id)] = row.whole if row.kind else ""
    return texts


def _lines(found: Mapping[str, Any], first: str, second: str) -> Iterator[str]:
    """Yield the comparison as text."""
    from curate.cli.explain import SHORT
    from curate.cli.text_layout import clipped, table, width
    from curate.row import printable

    names = (first, second)
    rows = [[name, f"{a:,}", f"{b:,}", f"{b - a:+,}"] for name, (a, b) in found["counts"].items()]
    yield table(["", *names, "change"], [row for row in rows if row[1:3] != ["0", "0"]])
    if found["reasons"]:
        yield from ("", "reasons that differ")
        yield table(
            ["  step", "reason", *names, "change"],
            [
                [f"  {r['step']}", r["reason"], f"{a:,}", f"{b:,}", f"{b - a:+,}"]
                for r in found["reasons"]
                for a, b in [r["counts"]]
            ],
        )
    if found["remarks"]:
        yield from ("", "remarks that differ")
        lines = [
            [f"  {r['step']}", r["remark"], *("-" if v is None else v for v in r["values"])]
            for r in found["remarks"]
        ]
        yield table(["  step", "remark", *names], lines)
    if found["figures"]:
        yield from ("", "figures that differ")
        lines = [
            [
                f"  {f['step']}",
                f["figure"],
                *("-" if v is None else f"{v:.6g}" for v in f["values"]),
            ]
            for f in found["figures"]
        ]
        yield table(["  step", "figure", *names], lines)
    if found["recipe"]:
        yield from ("", "recipe", *(f"  {printable(line)}" for line in found["recipe"]))
    yield ""
    if not found["moves"]:
        yield "every row ended the same way in both runs"
        return
    yield "rows that ended differently"
    for move in found["moves"]:
        yield f"  {move['rows']:,} {_end(move['from'])} -> {_end(move['to'])}"
    if not found["rows"]:
        return
    cells = [
        [f"  {m.row[:SHORT]}", f"{_end(m.before)} -> {_end(m.after)}", m.why] for m in found["rows"]
    ]
    starts = [f"{start}  " for start in table(["  row", "", "why"], cells).splitlines()]
    size = max(map(len, starts))
    yield ""
    for start, text in zip(starts, ["text", *(m.text for m in found["rows"])], strict=True):
        yield (f"{start:<{size}}" + clipped(text, max(20, width() - size))).rstrip()
    rest = sum(move["rows"] for move in found["moves"]) - len(found["rows"])
    if rest:
        yield f"  ... and {rest:,} more (-n shows more; curate explain {second} ROW shows why)"


def _end(outcome: str | None) -> str:
    return outcome or "absent"
