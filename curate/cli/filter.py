"""`curate filter`: steps given on the command line, without a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.completion import steps_that_begin
from curate.cli.flags import Flags, shared_flags

if TYPE_CHECKING:
    from curate.pipeline import Pipeline

STDOUT = ("-", "/dev/stdout")


@shared_flags
def command(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A file, glob or folder.")],
    steps: Annotated[
        list[str],
        typer.Argument(
            metavar="STEP[:key=value,...]",
            help="Steps with their fields, e.g. length:min=3,on=whole.",
            autocompletion=steps_that_begin,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", metavar="OUT", help="The file for the rows that are kept; - is stdout."),
    ],
    *,
    flags: Flags,
) -> None:
    """Put rows through one or more steps and write those that are kept."""
    from curate.cli.step_arguments import step_of
    from curate.pipeline import Pipeline

    pipeline = Pipeline(
        [step_of(text, answered=bool(flags.model)) for text in steps], inputs=source
    )
    write_kept(pipeline, flags, output)


def write_kept(pipeline: Pipeline, flags: Flags, output: Path) -> None:
    """Run a pipeline and write the rows that it keeps to `output`, or to stdout."""
    import shutil
    import sys
    import tempfile

    from curate.cli.running import finish, start
    from curate.runs.written import wrote

    if str(output) in STDOUT:
        # The kept rows go to stdout as JSON lines, and what the run did to stderr.
        with tempfile.TemporaryDirectory(prefix="curate-filter-") as aside:
            rows = Path(aside) / "rows.jsonl"
            # The run is called after what it does: the commands of a pipe do not share a folder.
            result = start(pipeline, flags, run=flags.run, output=rows)
            if rows.is_file():
                sys.stdout.flush()
                with rows.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
        finish(result, flags, to_stderr=not flags.dry_run)
        return
    run = flags.run or Path("runs") / stem(output)
    replaced = output.is_file() and not wrote(run, output)
    result = start(pipeline, flags, run=run, output=output)
    finish(result, flags, output, " (replaced the file that was there)" if replaced else "")


def stem(path: Path) -> str:
    """Return a file's name without its endings: `clean.jsonl.gz` is `clean`."""
    return path.name.split(".", 1)[0] or path.name
