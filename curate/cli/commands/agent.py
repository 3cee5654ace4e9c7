"""`curate agent`: what a coding agent needs to know, in one read."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.cli.flags import Debug, steps_that_begin


def command(
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP...",
            help="Print the fields of these steps only.",
            autocompletion=steps_that_begin,
        ),
    ] = None,
    fields: Annotated[
        bool, typer.Option("--steps", help="Print the fields of all steps only.")
    ] = False,
    columns: Annotated[
        bool, typer.Option("--shapes", help="Print all shapes with their columns only.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: version, commands, shared_options, recipe, kinds, shapes, files, "
            "formats, columns, models, model_options, exit_codes, run_folder, report, steps, "
            "left_out (steps that cannot be used), sections.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Print everything that a coding agent needs to know, in one read.

    How to look at a result, how not to overspend, how to continue, what never to do, what a run
    folder holds, exit codes, the grammar of recipes, commands, and all steps, a line each. Fields
    of steps and columns of shapes are printed when asked for.
    """
    from curate.cli.agent_guide import COLUMNS_OF_SHAPES, FIELDS, guide, guide_text
    from curate.cli.failures import say
    from curate.cli.text_layout import json_text

    found = guide(steps or ())
    for problem in found["left_out"]:
        say(f"left out: {problem}")
    asked = {FIELDS: bool(steps) or fields, COLUMNS_OF_SHAPES: columns}
    parts = [found["sections"][title] for title, wanted in asked.items() if wanted]
    text = "\n\n".join(parts) if parts else guide_text(found)
    typer.echo(json_text(found) if as_json else text)
