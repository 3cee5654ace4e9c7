"""`curate run`: a recipe from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
        str | None,
        typer.Option(
            "-o",
            metavar="RUN",
            # Text, not a `Path`, which would lose the slashes of an address.
            help="The run folder (the same as --run); or an address, as s3://BUCKET/RUN, where the "
            "run is published at its end and when it is stopped, and from where it goes on.",
        ),
    ] = None,
    as_json: RunJson = False,
    *,
    flags: Flags,
) -> None:
    """Run a recipe: read the inputs, apply every step, write a run folder."""
    from curate.cli.running import finish, start
    from curate.engine.output.recipe_outputs import targets_of
    from curate.errors import UsageError
    from curate.pipeline import Pipeline
    from curate.read.paths import ending_of
    from curate.runs.written import RUNS, wrote
    from curate.system import package_data as data
    from curate.system.credentials import address_of, is_address, refuse_credentials

    address, own = "", None if folder is None else Path(folder)
    if folder is not None and is_address(folder):
        if flags.store is not None:
            raise UsageError(
                "the store of a run at an address lies beside its working folder and goes with it; "
                f"leave out --store {flags.store}, or name that folder with --run DIR"
            )
        address = address_of(folder).rstrip("/")
        refuse_credentials(address)
        own = flags.run or RUNS / address.rpartition("/")[2]
    if own is not None and flags.run is not None and own != flags.run:
        raise UsageError(f"-o {folder} and --run {flags.run} name two run folders; give one")
    where = own or flags.run
    if where is not None and ending_of(where):
        raise UsageError(
            f"{where} would be the run's folder, not a file; name a file of the kept rows in the "
            f"recipe's `outputs`, or write it afterwards: curate export RUN -o {where}"
        )
    pipeline = Pipeline.from_yaml(data.recipe(recipe), answered=bool(flags.model))
    send = not flags.dry_run
    with published_at(address, where, send) if address and where else nullcontext():
        result = start(pipeline, flags, run=where)
        # Those of the recipe with `--set`.
        paths = [path for _, _, path, _ in targets_of(result.pipeline or pipeline)]
        written = [str(path) for path in paths if wrote(result.folder, path)]
        # What the run did is said before its publication, which may fail.
        finish(result, flags, written, as_json=as_json)


@contextmanager
def published_at(address: str, folder: Path, send: bool) -> Iterator[None]:
    """Go on with the run at `address` in `folder`, and `send` it there, also when it is stopped."""
    import signal

    from curate.cli.failures import say
    from curate.publish.run_copy import working_copy

    # A machine that is taken away says so by SIGTERM, as does Slurm: time to send what is there.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with working_copy(address, folder, send=send, tell=say):
        yield
