"""`curate export`: the rows of a run or of a file, written for whoever reads them next."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.completion import formats_that_begin, runs_that_begin, shapes_that_begin
from curate.cli.flags import Debug
from curate.errors import UsageError

MOST_SHOWN = 5


def command(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, or data.", autocompletion=runs_that_begin),
    ],
    output: Annotated[Path, typer.Option("-o", metavar="PATH", help="The file to write.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND|FORMAT",
            help="The shape to write, e.g. trl_dpo or llamafactory_kto (default: the kind's own).",
            autocompletion=formats_that_begin,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="train|test", help="Of a RUN: rows that the step `split` marked so."
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="SHAPE",
            help="Read a FILE in this shape.",
            autocompletion=shapes_that_begin,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the kept rows of a run, or the rows of a file, in another shape."""
    # A run that has not finished is a run, too: it says so.
    if any((Path(source) / name).exists() for name in ("report.json", ".state")):
        _export_run(Path(source), output, kind, split)
    elif split is not None:
        raise UsageError(f"--split takes a run in which rows were split; {source} is none")
    else:
        _export_data(source, output, kind, shape)


def _export_run(run: Path, output: Path, kind: str | None, split: str | None) -> None:
    from curate.result import Result
    from curate.write import write_rows

    kept = Result.open(run).kept
    rows = kept if split is None else kept.split(split)
    count = write_rows(rows.tables(), output, kind)
    typer.echo(f"{count:,} rows written to {output}")


def _export_data(source: str, output: Path, kind: str | None, shape: str | None) -> None:
    """Send data through a recipe without steps, so that unreadable lines are counted and named."""
    from curate.cli.failures import say
    from curate.pipeline import Pipeline

    with tempfile.TemporaryDirectory(prefix="curate-export-") as folder:
        result = Pipeline([], inputs=source).run(
            run=Path(folder) / "run", output=output, output_shape=kind, shape=shape
        )
    typer.echo(f"{result.summary['kept']:,} rows written to {output}")
    for entry in result.summary["unreadable"][:MOST_SHOWN]:
        say(f"unreadable {entry['file']}:{entry['line']}: {entry['error']}")
    if result.exit_code:
        say(f"{result.summary['failed']:,} lines could not be read and are not in {output}")
        raise typer.Exit(result.exit_code)
