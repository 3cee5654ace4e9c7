"""Run what an evaluation measures, and print what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from curate.cli.flags import Flags

if TYPE_CHECKING:
    from curate.evaluate.model.stages import Stages
    from curate.pipeline import Pipeline, Result


def run_over(steps: Any, on: str, what: str, flags: Flags, *, as_json: bool) -> Result:
    """Run the steps over labelled rows; an evaluation is a run like any other.

    A dry run ends here, with its plan: there is nothing to measure.
    """
    from curate.cli.commands.filter import stem
    from curate.cli.running import finish, start
    from curate.pipeline import Pipeline
    from curate.system.lazy_pandas import set_up_pyarrow

    set_up_pyarrow()
    run = flags.run or Path("runs") / f"{stem(Path(on))}-{what}"
    result = start(Pipeline(list(steps), inputs=on), flags, run=run)
    if flags.dry_run:
        finish(result, flags, as_json=as_json)
        raise typer.Exit
    return result


def open_stages(
    folder: Path, flags: Flags, models: Mapping[str, Any] | None = None, *, as_json: bool
) -> Stages:
    """Return the stages of an evaluation of several runs, which run as the flags say."""
    from curate.cli.running import finish, start
    from curate.evaluate.model.stages import Stages
    from curate.system.lazy_pandas import set_up_pyarrow

    set_up_pyarrow()

    def run(pipeline: Pipeline, **options: Any) -> Result:
        result = start(pipeline, flags, **options)
        if flags.dry_run:
            # What comes next depends on what this one would have made.
            finish(result, flags, as_json=as_json)
            raise typer.Exit
        return result

    return Stages(folder, models or {}, run)


def show_found(
    result: Result, found: Mapping[str, Any], text: str, flags: Flags, *, as_json: bool
) -> None:
    """Print the measures, and leave with the run's exit code."""
    from curate.cli.failures import say
    from curate.cli.text_layout import headed, json_text
    from curate.evaluate.evaluation_file import plain

    if as_json:
        typer.echo(json_text(plain(found)))
    else:
        typer.echo(headed(text))
        typer.echo(f"\nrun        {result.folder}")
    if result.message:
        say(result.message)
    elif result.exit_code == 1:
        say(
            f"{result.summary['failed']:,} rows failed, more than --allow-failed "
            f"{flags.allow_failed:g} allows, and are measured by nothing above; "
            f"`curate explain {result.folder}` shows some"
        )
    if result.exit_code:
        raise typer.Exit(result.exit_code)
