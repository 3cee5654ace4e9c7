"""`curate filter`: steps given on the command line, without a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.flags import Flags, RunJson, shared_flags, steps_that_begin
from curate.errors import UsageError

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
    as_json: RunJson = False,
    *,
    flags: Flags,
) -> None:
    """Apply one or more steps to the rows of an input, and write those that are kept."""
    from curate.cli.step_arguments import steps_of
    from curate.pipeline import Pipeline

    pipeline = Pipeline(steps_of(source, steps, answered=bool(flags.model)), inputs=source)
    write_kept(pipeline, flags, output, as_json=as_json)


def write_kept(pipeline: Pipeline, flags: Flags, output: Path, *, as_json: bool) -> None:
    """Run a pipeline and write the rows that it keeps to `output`, or to stdout."""
    import shutil
    import sys
    import tempfile

    from curate.cli.running import finish, start
    from curate.runs.written import wrote

    if str(output) in STDOUT:
        if as_json and not flags.dry_run:
            raise UsageError(
                "--json and -o - would both write to stdout; name a file, as in -o rows.jsonl, or "
                "leave --json out"
            )
        if any(step.name == "split" for step in pipeline.steps):
            raise UsageError(
                "split writes two files, and stdout is one; name a file, as in -o rows.jsonl, or "
                "leave split out"
            )
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
        finish(result, flags, to_stderr=not flags.dry_run, as_json=as_json)
        return
    run = flags.run or Path("runs") / stem(output)
    before = [path for path in _written(output) if not wrote(run, path)]
    result = start(pipeline, flags, run=run, output=output)
    written = [] if flags.dry_run else [path for path in _written(output) if wrote(run, path)]
    if as_json:
        finish(result, flags, list(map(str, written)), as_json=True)
        return
    replaced = " (replaced the file that was there)"
    finish(result, flags, [f"{path}{replaced if path in before else ''}" for path in written])


def _written(output: Path) -> list[Path]:
    """Return the files that there are for an output: itself, or one for each side and kind."""
    from curate.row import KINDS
    from curate.runs.rows import SIDES
    from curate.write import path_of_part

    names = (path_of_part(output, side, kind) for side in (None, *SIDES) for kind in (None, *KINDS))
    return [path for path in names if path.is_file()]


def stem(path: Path) -> str:
    """Return a file's name without its endings: `clean.jsonl.gz` is `clean`."""
    return path.name.split(".", 1)[0] or path.name
