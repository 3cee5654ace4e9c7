"""`curate push`: the kept rows of a run, or the rows of a file, as a dataset on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.flags import Debug, Split, formats_that_begin, runs_that_begin
from curate.read.finished_runs import is_run


def command(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, or data.", autocompletion=runs_that_begin),
    ],
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The dataset on the Hugging Face Hub.")
    ],
    public: Annotated[
        bool,
        typer.Option("--public/--private", help="Whether the dataset is public."),
    ] = False,
    split: Split = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND|FORMAT",
            help="The shape of the records, e.g. trl_dpo (default: the kind's own).",
            autocompletion=formats_that_begin,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and print the card; send nothing."),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Write the dataset with its card to a new folder; send nothing, ask nobody.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: url, rows, sent, deleted, warnings, card."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Push the kept rows of a run, or the rows of a file, to the Hugging Face Hub."""
    import shlex
    import sys

    from huggingface_hub.utils.tqdm import disable_progress_bars

    from curate.cli.failures import say
    from curate.cli.text_layout import json_text
    from curate.errors import UsageError
    from curate.pipeline import Pipeline, Result

    if folder is not None and (dry_run or public):
        raise UsageError("--folder sends nothing, so that --dry-run and --public say nothing there")
    if not sys.stderr.isatty():
        disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="curate-push-") as aside:
        # A run that has not finished is a run, too: it says so.
        if is_run(Path(source)):
            result, title = Result.open(source), None
        else:
            result = Pipeline([], inputs=source).run(run=Path(aside) / "run")
            title = Path(source).name.partition(".")[0]
        pushed = result.push_to_hub(
            name,
            public=public,
            split=split,
            shape=kind,
            title=title,
            dry_run=dry_run,
            folder=folder,
        )
    for warning in pushed.warnings:
        say(f"licences: {warning.replace('**', '')}")
    if as_json:
        typer.echo(json_text(pushed._asdict()))
        return
    if folder is not None:
        typer.echo(f"{pushed.rows:,} rows, {len(pushed.sent)} files written: {folder}")
        upload = shlex.join(["hf", "upload", name, str(folder), "--repo-type", "dataset"])
        say(f"to upload it: {upload} --private")
        return
    if dry_run:
        typer.echo(pushed.card)
        say(f"{pushed.rows:,} rows would go to {pushed.url}; sent: {_listed(pushed.sent)}")
        if pushed.deleted:
            say(f"no longer part of it, and deleted there: {_listed(pushed.deleted)}")
        return
    if not pushed.sent + pushed.deleted:
        typer.echo(f"{pushed.url} is up to date: nothing was sent")
        return
    typer.echo(f"{pushed.rows:,} rows, {len(pushed.sent)} files sent: {pushed.url}")
    if pushed.deleted:
        # Such as the other side of a split that was pushed before.
        typer.echo(f"no longer part of it, and deleted there: {_listed(pushed.deleted)}")


def _listed(paths: list[str]) -> str:
    return ", ".join(paths) or "nothing, it is up to date"
