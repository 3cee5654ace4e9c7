"""`curate store`: what the durable memory of replies and vectors holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.flags import Debug
from curate.engine.options import DEFAULT_STORE

if TYPE_CHECKING:
    from curate.store.store import Store

app = typer.Typer(
    help="Look after the store of replies.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
Folder = Annotated[
    Path, typer.Option("--store", metavar="DIR", help="The folder of stored replies.")
]


@app.command()
def stats(
    store: Folder = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Count what the store holds, the room it takes, and the state of its batch jobs."""
    from curate.cli.progress import clock
    from curate.cli.text_layout import headed, table
    from curate.requests.batch.jobs import BatchJobs
    from curate.store.files import sizes

    with _existing(store) as opened:
        numbers, rooms = opened.stats(), opened.vectors.by_encoder()
        parts = dict(sorted(sizes(opened.folder).items()))
        jobs = BatchJobs(opened).job_statuses()
    if as_json:
        encoders = [{**room._asdict(), "bytes": room.bytes} for room in rooms]
        batches = [job._asdict() for job in jobs]
        data = {**numbers, "parts": parts, "encoders": encoders, "batches": batches}
        typer.echo(json.dumps(data, indent=1))
        return
    lines = ["in the store", *(f"  {name:<10} {number:>15,}" for name, number in numbers.items())]
    lines += ["", "bytes of", *(f"  {name:<10} {number:>15,}" for name, number in parts.items())]
    if rooms:
        rows = [[f"  {r.vectors:,}", f"{r.width:,}", f"{r.bytes:,}", r.encoder] for r in rooms]
        lines += ["", table(["  vectors", "numbers", "bytes", "encoder"], rows)]
    if jobs:
        now = time.time()
        rows = [
            [
                f"  {job.state}",
                f"{clock(max(0.0, (job.ended_at or now) - job.made_at))}",
                f"{job.requests - job.left:,} of {job.requests:,}",
                job.remote or "-",
                job.model,
            ]
            for job in jobs
        ]
        lines += ["", table(["  batch job", "time", "settled", "at the provider", "model"], rows)]
    if any(job.ended_at is None for job in jobs):
        lines.append(
            "  The command that sent an open job collects it, with the same key and store."
        )
    typer.echo(headed("\n".join(lines)))


@app.command()
def gc(
    neighbours: Annotated[
        bool,
        typer.Option("--neighbours", help="Also delete all pairs found; a run finds them again."),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Also delete the vectors of an encoder, by the beginning of the name that stats "
            "shows; a run asks it for them again.",
        ),
    ] = None,
    store: Folder = DEFAULT_STORE,
    debug: Debug = False,
) -> None:
    """Give back the room of replaced replies and of what killed runs left.

    It refuses while a run uses the store. A copy of the store's folder is a way back. Batch jobs
    stay, open ones with all they need to be collected.
    """
    from curate.store import maintenance
    from curate.store.files import alone, sizes

    with _existing(store) as opened, alone(opened.folder):
        before = sum(sizes(opened.folder).values())
        if encoder is not None:
            name, count = maintenance.free_vectors(opened, encoder)
            typer.echo(f"{count:,} vectors of {name} deleted; a run asks for them again")
        if neighbours:
            count = maintenance.free_neighbours(opened.folder)
            typer.echo(f"{count:,} files of neighbours deleted; a run finds them again")
        maintenance.free_drafts(opened.folder)
        deleted = opened.compact()
    after = sum(sizes(store).values())
    typer.echo(f"{deleted:,} replies deleted; {before:,} bytes before, {after:,} after")


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE.jsonl", help="The file (default: stdout).")
    ] = None,
    store: Folder = DEFAULT_STORE,
    debug: Debug = False,
) -> None:
    """Write every request with its reply as a line of JSON, oldest first."""
    from curate.errors import UsageError

    if output is not None and output.exists():
        raise UsageError(f"{output} is already there; delete it, or give another file")
    with _existing(store) as opened:
        if output is None:
            for line in _lines(opened):
                typer.echo(line)
            return
        unfinished = output.with_name(output.name + ".tmp")
        with unfinished.open("w", encoding="utf-8") as file:
            count = sum(1 for line in _lines(opened) if file.write(line + "\n"))
        unfinished.replace(output)
    typer.echo(f"{count:,} replies written to {output}")


def _lines(store: Store) -> Iterator[str]:
    for one in store.exchanges():
        data = {
            "key": one.key,
            "attempt": one.attempt,
            "model": one.request.model,
            "request": one.request.content,
            "reply": json.loads(one.reply.to_json()),
        }
        yield json.dumps(data, ensure_ascii=True)


def _existing(folder: Path) -> Store:
    """Open the store in `folder`; looking at one that is not there must not make it."""
    from curate.errors import UsageError
    from curate.store.store import Store

    if not (folder / "store.db").is_file():
        raise UsageError(f"there is no store in {folder}; name its folder with --store DIR")
    return Store.open(folder)
