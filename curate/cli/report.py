"""`curate report`: what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.flags import Debug, runs_that_begin


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=runs_that_begin)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png", metavar="DIR", help="Draw the map of a style_report there, and its data."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show what a run did: its funnel, reasons, scores and spending.

    Of a run that has not finished, show what it has spent so far. With --png, draw the map of each
    `style_report` instead: a picture, and the same as CSV.
    """
    import json

    from curate.cli.text_layout import headed
    from curate.pipeline import Result
    from curate.runs.status import status

    unfinished = None if as_json or png else status(run)
    if unfinished is not None:
        typer.echo(headed(str(unfinished)))
        return
    result = Result.open(run)
    if png is not None:
        from curate.runs.style_map import write_style_maps

        for path in write_style_maps(run, result.summary, png):
            typer.echo(path)
    elif as_json:
        typer.echo(json.dumps(result.summary, indent=1, ensure_ascii=False))
    else:
        typer.echo(headed(result.report(scores=True)))
