"""`curate run`: a recipe from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.flags import Flags, RunJson, shared_flags


@shared_flags
def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE.yaml", help="A recipe, or the name of a ready one.")
    ],
    folder: Annotated[
        Path | None, typer.Option("-o", metavar="RUN", help="The run folder (the same as --run).")
    ] = None,
    as_json: RunJson = False,
    *,
    flags: Flags,
) -> None:
    """Run a recipe: read the inputs, apply every step, write a run folder."""
    from curate.cli.running import finish, start
    from curate.errors import UsageError
    from curate.pipeline import Pipeline
    from curate.read.paths import ending_of
    from curate.runs.written import wrote
    from curate.system import package_data as data

    if folder is not None and flags.run is not None and folder != flags.run:
        raise UsageError(f"-o {folder} and --run {flags.run} name two run folders; give one")
    where = folder or flags.run
    if where is not None and ending_of(where):
        raise UsageError(
            f"{where} would be the run's folder, not a file; name a file of the kept rows in the "
            f"recipe's `outputs`, or write it afterwards: curate export RUN -o {where}"
        )
    pipeline = Pipeline.from_yaml(data.recipe(recipe), answered=bool(flags.model))
    result = start(pipeline, flags, run=where)
    places = (pipeline.outputs or {}).values()
    paths = [place if isinstance(place, str) else place["path"] for place in places]
    written = [path for path in paths if wrote(result.folder, Path(path))]
    finish(result, flags, written, as_json=as_json)
