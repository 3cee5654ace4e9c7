"""`curate store`: what the durable memory of replies and vectors holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.flags import Debug
from curate.engine.options import DEFAULT_STORE

if TYPE_CHECKING:
    from curate.store.store import Store

app = typer.Typer(
    help="Inspect and clean up the store of replies.",
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
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: counts of what is stored, parts (bytes), encoders, batches.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Show what the store holds, its size, and the status of its batch jobs."""
    from curate.cli.progress import clock
    from curate.cli.text_layout import headed, json_text, table
    from curate.requests.batch.jobs import BatchJobs
    from curate.store.files import sizes

    with _existing(store, to_read=True) as opened:
        numbers, rooms = opened.stats(), opened.vectors.by_encoder()
        parts = dict(sorted(sizes(opened.folder).items()))
        jobs = BatchJobs(opened).job_statuses()
    if as_json:
        encoders = [{**room._asdict(), "bytes": room.bytes} for room in rooms]
        batches = [job._asdict() for job in jobs]
        data = {**numbers, "parts": parts, "encoders": encoders, "batches": batches}
        typer.echo(json_text(data))
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
            help="Also delete the vectors of an encoder, given the "
            "beginning of the name that stats "
            "shows; a run computes them again.",
        ),
    ] = None,
    store: Folder = DEFAULT_STORE,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: replies, vectors, neighbours (how many were deleted), bytes_before, "
            "bytes_after.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Free the space of replaced replies and of leftovers of killed runs.

    This is refused while a run uses the store. To be able to undo it, copy the store's folder
    first. Batch jobs are kept, open ones with everything needed to collect them.
    """
    from curate.cli.text_layout import json_text
    from curate.store import maintenance
    from curate.store.files import alone, sizes

    vectors = files = 0
    with _existing(store) as opened, alone(opened.folder):
        before = sum(sizes(opened.folder).values())
        if encoder is not None:
            name, vectors = maintenance.free_vectors(opened, encoder)
            said = f"{vectors:,} vectors of {name} deleted; a run asks for them again"
            typer.echo(said, err=as_json)
        if neighbours:
            files = maintenance.free_neighbours(opened.folder)
            said = f"{files:,} files of neighbours deleted; a run finds them again"
            typer.echo(said, err=as_json)
        maintenance.free_drafts(opened.folder)
        deleted = opened.compact()
    after = sum(sizes(store).values())
    if as_json:
        found = {"replies": deleted, "vectors": vectors, "neighbours": files}
        typer.echo(json_text({**found, "bytes_before": before, "bytes_after": after}))
        return
    typer.echo(f"{deleted:,} replies deleted; {before:,} bytes before, {after:,} after")


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE.jsonl", help="The file (default: stdout).")
    ] = None,
    store: Folder = DEFAULT_STORE,
    debug: Debug = False,
) -> None:
    """Write every request with its reply as a line of JSON, oldest first.

    Of a reply that is damaged, by its checksum, the line says so in place of the reply, and the
    command ends with exit code 1.
    """
    from curate.cli.failures import say
    from curate.errors import UsageError
    from curate.system.credentials import refuse_address

    refuse_address(output, "-o", "name a path of this machine, and copy it afterwards")
    if output is not None and output.exists():
        raise UsageError(f"{output} is already there; delete it, or give another file")
    with _existing(store, to_read=True) as opened:
        damaged = list[str]()
        if output is None:
            for line in _lines(opened, damaged):
                typer.echo(line)
        else:
            unfinished = output.with_name(output.name + ".tmp")
            with unfinished.open("w", encoding="utf-8") as file:
                count = sum(1 for line in _lines(opened, damaged) if file.write(line + "\n"))
            unfinished.replace(output)
            typer.echo(f"{count - len(damaged):,} replies written to {output}")
    if damaged:
        say(
            f"{len(damaged):,} replies in {store} are damaged, the first under the key "
            f"{damaged[0]}: their checksums are wrong. Check the disk; with --retry-failed a run "
            "asks, and pays, for those that it needs again"
        )
        raise typer.Exit(1)


def _lines(store: Store, damaged: list[str]) -> Iterator[str]:
    """Yield every exchange as JSON, and add the keys of damaged replies to `damaged`."""
    from curate.store.store import DAMAGED

    for one in store.exchanges():
        data: dict[str, Any] = {
            "key": one.key,
            "attempt": one.attempt,
            "model": one.request.model,
            "request": one.request.content,
            "reply": json.loads(one.reply.to_json()),
        }
        if one.reply.finish_reason == DAMAGED:
            damaged.append(one.key)
            data |= {"reply": None, "damaged": True}
        yield json.dumps(data, ensure_ascii=True)


def _existing(folder: Path, *, to_read: bool = False) -> Store:
    """Open the store in `folder`; looking at one that is not there must not make it."""
    from curate.errors import UsageError
    from curate.store.store import Store

    if not (folder / "store.db").is_file():
        raise UsageError(f"there is no store in {folder}; name its folder with --store DIR")
    return Store.open_to_read(folder) if to_read else Store.open(folder)
