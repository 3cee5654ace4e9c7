"""`curate generate`: one step that makes rows, of an input or of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.flags import Flags, RunJson, shared_flags, steps_that_begin


@shared_flags
def command(
    step: Annotated[
        str,
        typer.Argument(
            metavar="STEP[:key=value,...]",
            help="The step that makes rows, with its fields.",
            autocompletion=steps_that_begin,
        ),
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[INPUT]", help="A file, glob or folder.")
    ] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            metavar="COUNT",
            help="How many empty prompts to start from, or (a step that grows) rows to make.",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("-o", metavar="OUT", help="The file for the rows that are kept; - is stdout."),
    ],
    as_json: RunJson = False,
    flags: Flags,
) -> None:
    """Generate rows with one step, from an input or from nothing, and write them."""
    import dataclasses

    from curate.cli.commands.filter import write_kept
    from curate.cli.step_arguments import step_of
    from curate.errors import RecipeError, UsageError
    from curate.pipeline import Pipeline
    from curate.step import Grow
    from curate.system.package_data import names_rows

    try:
        made = step_of(step, answered=bool(flags.model))
    except RecipeError:
        if names_rows(step):
            raise UsageError(
                f"{step} is data, and the step comes first: "
                f"curate generate {source or 'STEP'} {step} -o {output}"
            ) from None
        raise
    if isinstance(made, Grow) and count is not None:
        made = dataclasses.replace(made, target=count)
    elif source is not None and count is not None:
        raise UsageError(
            f"-n {count} counts the empty prompts that stand for an INPUT, and {source} is given; "
            "leave one of them out (--limit reads the first rows of an input only)"
        )
    if source is None and count is None:
        raise UsageError("say what to start from: an INPUT, or -n COUNT for so many empty prompts")
    # A pool that grows from nothing starts with one row that says nothing.
    blank = {"blank": {"count": 1 if isinstance(made, Grow) else count}}
    pipeline = Pipeline([made], inputs=blank if source is None else source)
    write_kept(pipeline, flags, output, as_json=as_json)
