"""`curate export`: the rows of a run or of a file, written for whoever reads them next."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.completion import runs_that_begin
from curate.cli.flags import Debug

MOST_SHOWN = 5


def command(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, or data.", autocompletion=runs_that_begin),
    ],
    output: Annotated[Path, typer.Option("-o", metavar="PATH", help="The file to write.")],
    kind: Annotated[
        str | None, typer.Option("--as", metavar="KIND|FORMAT", help="The shape to write.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option("--shape", metavar="SHAPE", help="Read a FILE in this shape.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the kept rows of a run, or the rows of a file, in another shape."""
    if (Path(source) / "report.json").is_file():
        _export_run(Path(source), output, kind)
    else:
        _export_data(source, output, kind, shape)


def _export_run(run: Path, output: Path, kind: str | None) -> None:
    from curate.result import Result
    from curate.write import write_rows

    count = write_rows(Result.open(run).kept.tables(), output, kind)
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
