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
    debug: Debug = False,
) -> None:
    """Show what a run did: its funnel, reasons, scores and spending.

    Of a run that has not finished, show what it has spent so far.
    """
    import json

    from curate.cli.text_layout import headed
    from curate.pipeline import Result
    from curate.runs.status import status

    unfinished = None if as_json else status(run)
    if unfinished is not None:
        typer.echo(headed(str(unfinished)))
        return
    result = Result.open(run)
    if as_json:
        typer.echo(json.dumps(result.summary, indent=1, ensure_ascii=False))
    else:
        typer.echo(headed(result.report(scores=True)))
