"""`curate report`: what a run did."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.flags import Debug, runs_that_begin


def command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=runs_that_begin)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="DIR",
            help="Write pictures of the funnel, reasons, scores and style maps to this folder.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="PAGE", help="Write a page for a browser that includes the rows."
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", metavar="N", min=1, help="The number of rows in that page (20,000)."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show what a run did: its funnel, reasons, scores and spending.

    For an unfinished run, show its status and what it has spent so far. With --html, write a page
    that needs neither a server nor a network. With --png, draw the funnel, the reasons and each
    step's scores with the threshold, and for a `style_report` the map, also as CSV.
    """
    from curate.cli.text_layout import headed, json_text
    from curate.errors import UsageError
    from curate.page.html import ROWS
    from curate.pipeline import Result
    from curate.runs.status import status

    if as_json and (png or html):
        raise UsageError("--json prints the report, --html and --png write files: give one of them")
    if rows is not None and html is None:
        raise UsageError("--rows is about a page: name it with --html PAGE")
    folder = Path(run)
    unfinished = None if as_json or png or html else status(folder)
    if unfinished is not None:
        typer.echo(headed(str(unfinished)))
        return
    result = Result.open(folder)
    if html is not None:
        _write_page(folder, result.recipe, html, rows or ROWS)
    if png is not None:
        from curate.page.pictures import write_pictures

        for path in write_pictures(folder, png):
            typer.echo(path)
    if as_json:
        typer.echo(json_text(result.summary))
    elif not png and not html:
        typer.echo(headed(result.report(scores=True)))


def _write_page(run: Path, recipe: Mapping[str, Any], path: Path, rows: int) -> None:
    """Write the page of a run; a map by meaning takes vectors that the run's store has."""
    from curate.engine.encode_texts import Ceilings, encode_texts
    from curate.page import write_page

    store = recipe.get("options", {}).get("store")
    known = bool(store) and os.path.isdir(store)
    # Nothing is asked for a picture: a text without a stored vector is an error.
    nothing = Ceilings(f"page {run.resolve()}", max_requests=0)

    def vectors(encoder: Any) -> Callable[[Sequence[str]], Any]:
        return lambda texts: encode_texts(texts, encoder, Path(store), nothing)[0]

    page = write_page(run, path, rows=rows, vectors=vectors if known else None)
    if page.without_map:
        typer.echo(f"without a map by meaning: {page.without_map}", err=True)
    typer.echo(f"{page.path}: {page.size:,} bytes, {page.rows:,} of {page.drawn_from:,} rows")
