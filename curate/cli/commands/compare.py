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
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="PAGE",
            help="Write a page for a browser that includes the changed rows.",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", metavar="N", min=1, help="The number of rows in that page (20,000)."
        ),
    ] = None,
    datasets: Annotated[
        bool,
        typer.Option(
            "--datasets", help="Compare the rows of two runs or files of data as datasets."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: counts, reasons, remarks, figures, recipe (a diff), moves, rows; "
            "with --datasets a pair of numbers for each measure.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compare two runs: counts, reasons, and the rows that ended differently.

    With --datasets, compare what two runs kept, or two files of data: cost, quality, preference,
    writing style, scale, creativity and diversity, blank if not measured. With --html, write a page
    that needs neither a server nor a network; with both, it includes the table of the datasets.
    """
    from curate.cli.text_layout import headed, json_text
    from curate.pipeline import Result

    if as_json and html:
        raise UsageError("--json prints the comparison, --html writes a page: give one of them")
    if rows is not None and html is None:
        raise UsageError("--rows is about a page: name it with --html PAGE")
    if html is not None:
        _write_page(first, second, html, rows, datasets=datasets)
        return
    if datasets:
        table = compared_datasets(first, second)
        if as_json:
            typer.echo(json_text(table))
        else:
            typer.echo(headed("\n".join(_dataset_lines(table, first, second))))
        return
    runs = (Result.open(first), Result.open(second))
    found = compared(runs, count)
    if as_json:
        typer.echo(json_text({**found, "rows": [moved._asdict() for moved in found["rows"]]}))
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


def _write_page(first: str, second: str, path: Path, rows: int | None, *, datasets: bool) -> None:
    """Write the page of two runs, of two datasets, or of both."""
    from curate.page import write_comparison, write_dataset_comparison
    from curate.page.html import ROWS
    from curate.pipeline import Result

    table = compared_datasets(first, second) if datasets else None
    told = ""
    if table is not None and not all(is_run(Path(source)) for source in (first, second)):
        # Files are not runs: there is nothing to tell of them but what the table has.
        page = write_dataset_comparison((first, second), table, path)
    else:
        runs = (Result.open(first).folder, Result.open(second).folder)
        page = write_comparison(runs, path, rows=rows or ROWS, datasets=table)
        told = (
            f", {page.rows:,} of {page.drawn_from:,} rows that ended differently, or for another "
            "reason"
        )
    typer.echo(f"{page.path}: {page.size:,} bytes{told}")


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
    import pyarrow.compute as pc

    from curate.runs.comparison import recipe_difference, report_differences

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
        **report_differences((runs[0].summary, runs[1].summary)),
        "recipe": recipe_difference((runs[0].recipe["recipe"], runs[1].recipe["recipe"]), names),
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
    from curate.cli.commands.explain import SHORT
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
