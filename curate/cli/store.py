"""`curate store`: what the durable memory of replies and vectors holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.flags import Debug
from curate.engine.options import DEFAULT_STORE

if TYPE_CHECKING:
    from curate.engine.requests.store import Store

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
    """Count what the store holds: replies, requests, small values, runs, vectors, bytes."""
    with _existing(store) as opened:
        numbers = opened.stats()
    if as_json:
        typer.echo(json.dumps(numbers, indent=1))
    else:
        typer.echo("\n".join(f"{name:<10} {number:>15,}" for name, number in numbers.items()))


@app.command()
def gc(store: Folder = DEFAULT_STORE, debug: Debug = False) -> None:
    """Give back the room of replies that a newer attempt replaced, and of torn vector files."""
    with _existing(store) as opened:
        before = opened.stats()["bytes"]
        deleted = opened.compact()
    with _existing(store) as opened:
        after = opened.stats()["bytes"]
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
    from curate.engine.requests.store import Store
    from curate.errors import UsageError

    if not (folder / "store.db").is_file():
        raise UsageError(f"there is no store in {folder}; name its folder with --store DIR")
    return Store.open(folder)
