"""`curate export`: the rows of a run or of a file, written for whoever reads them next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.completion import runs_that_begin
from curate.cli.flags import Debug

if TYPE_CHECKING:
    import pyarrow as pa


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
    from curate.write import write_rows

    count = write_rows(_tables(source, shape), output, kind)
    typer.echo(f"{count:,} rows written to {output}")


def _tables(source: str, shape: str | None) -> Iterable[pa.Table]:
    """Return the rows of a run's `kept/`, or of data files."""
    if (Path(source) / "report.json").is_file():
        from curate.result import Result

        return Result.open(source).kept.tables()
    return _read(source, shape)


def _read(source: str, shape: str | None) -> Iterable[pa.Table]:
    from curate.read import open_inputs

    opened: Any = open_inputs(source, shape=shape)
    for part in opened.parts():
        yield part.table
