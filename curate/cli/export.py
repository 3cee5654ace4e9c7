"""`curate export`: the rows of a run or of a file, written for trainers and other tools."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from curate.cli.completion import formats_that_begin, runs_that_begin
from curate.cli.flags import (
    Columns,
    Debug,
    EncodingCost,
    EncodingRequests,
    Shape,
    Split,
    wanted_shape,
)
from curate.errors import UsageError

MOST_SHOWN = 5


def command(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, or data.", autocompletion=runs_that_begin),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            metavar="PATH",
            # Text, not a `Path`, which would lose the slash at the end of a folder.
            help="The file to write, or a folder (no suffix, or a slash at its end) for Parquet "
            "shards named as on the Hugging Face Hub: train-00000-of-00004.parquet.",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND|FORMAT",
            help="The shape to write, e.g. trl_dpo or llamafactory_kto (default: the kind's own); "
            "`faiss` writes vectors, ids and their encoder into a folder.",
            autocompletion=formats_that_begin,
        ),
    ] = None,
    split: Split = None,
    shard_rows: Annotated[
        int | None,
        typer.Option(
            "--shard-rows",
            metavar="N",
            min=1,
            help="Rows in a shard, of a folder (default: 100,000).",
        ),
    ] = None,
    shape: Shape = None,
    columns: Columns = None,
    marks: Annotated[
        bool,
        typer.Option(
            "--marks",
            help="Of a RUN: add a column `curate` with each row's id, source, parents, scores and "
            "notes.",
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace a file that no run wrote, or a folder with what runs wrote into it.",
        ),
    ] = False,
    max_cost: EncodingCost = None,
    max_requests: EncodingRequests = None,
    debug: Debug = False,
) -> None:
    """Write the kept rows of a run, or the rows of a file, in another shape."""
    from curate.cli.failures import say
    from curate.pipeline import Pipeline, Result
    from curate.runs.written import check_replaceable
    from curate.write import cut, write_rows, write_shards

    if kind == "faiss":
        if split is not None or marks or shard_rows is not None:
            raise UsageError(
                "--as faiss writes vectors and ids; leave out --split, --marks and --shard-rows"
            )
        _export_vectors(source, Path(output), shape, max_cost, max_requests, replace=replace)
        return
    if max_cost is not None or max_requests is not None:
        raise UsageError(
            "--max-cost and --max-requests bound what --as faiss encodes; leave them out"
        )
    path, name, size = _target(output, split, shard_rows, source)
    own = any((Path(source) / name).exists() for name in ("report.json", ".state"))
    if own or size is not None:
        check_replaceable(path, Path(source), replace=replace)
    # A run that has not finished is a run, too: it says so.
    if own:
        kept = Result.open(Path(source)).kept
        rows = kept if split is None else kept.split(split)
        if size is None:
            count = write_rows(rows.tables(), path, kind, marks=marks, run=Path(source))
        else:
            count = write_shards(
                rows.tables(),
                path,
                kind,
                rows=size,
                split=name,
                marks=marks,
                run=Path(source),
                replace=replace,
            )
        typer.echo(f"{count:,} rows written to {path}")
    elif split is not None:
        raise UsageError(f"--split takes a run in which rows were split; {source} is none")
    elif marks:
        raise UsageError(f"--marks takes a run, whose rows have scores and notes; {source} is none")
    else:
        # Data goes through a recipe without steps, so that unreadable lines are counted and named.
        with tempfile.TemporaryDirectory(prefix="curate-export-") as folder:
            whole = path if size is None else Path(folder) / "whole.parquet"
            result = Pipeline([], inputs=source).run(
                run=Path(folder) / "run",
                output=whole,
                output_shape=kind,
                shape=wanted_shape(shape, columns),
                replace=replace,
            )
            if size is not None:
                cut(whole, path, rows=size, split=name, replace=replace)
        typer.echo(f"{result.summary['kept']:,} rows written to {path}")
        for entry in result.summary["unreadable"][:MOST_SHOWN]:
            say(f"unreadable {entry['file']}:{entry['line']}: {entry['error']}")
        if result.exit_code:
            say(f"{result.summary['failed']:,} lines could not be read and are not in {path}")
            raise typer.Exit(result.exit_code)


class _Target(NamedTuple):
    """Where rows go: one file, or a folder of shards (`shard_rows` is then set)."""

    path: Path
    split: str
    shard_rows: int | None


def _target(output: str, split: str | None, shard_rows: int | None, source: str) -> _Target:
    from curate.write import SHARD_ROWS, check_folder, is_folder

    if output.startswith(("hf://", "hub://")):
        place = output.partition("://")[2].removeprefix("datasets/").strip("/").split("/")
        name = "/".join(place[:2]) if len(place) > 1 else "ORG/NAME"
        raise UsageError(
            f"export writes files here, and {output} is on the Hub; send the rows there with: "
            f"curate push {source} {name}"
        )

    if is_folder(output):
        check_folder(output, replace=True)
        return _Target(Path(output), split or "train", shard_rows or SHARD_ROWS)
    if shard_rows is not None:
        raise UsageError(
            f"--shard-rows takes a folder, and {output} is one file; leave the option out, or name "
            f"a folder: -o {Path(output).stem}/"
        )
    return _Target(Path(output), split or "train", None)


def _export_vectors(
    source: str,
    folder: Path,
    shape: str | None,
    max_cost: float | None,
    max_requests: int | None,
    *,
    replace: bool,
) -> None:
    """Write the vectors of rows as a FAISS index, with their ids and the encoder's identity."""
    from curate.cli.similar import index_source
    from curate.runs.written import check_replaceable, put
    from curate.store.faiss_index import VectorIndex, write_index

    if folder.suffix or folder.is_file():
        raise UsageError(f"--as faiss writes a folder; name one, as in -o {folder.stem}/")
    check_replaceable(folder, Path(source), replace=replace)
    found = index_source(source, shape=shape, max_cost=max_cost, max_requests=max_requests)
    filled = found.vectors.any(axis=1).nonzero()[0].tolist()
    ids = [found.ids[row] for row in filled]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        fresh = Path(aside) / "index"
        write_index(fresh, VectorIndex(found.vectors[filled], ids, found.about))
        put(fresh, folder, Path(source) if (Path(source) / ".state").is_dir() else None)
    left = len(found.ids) - len(ids)
    told = f"; {left:,} rows without a text are not in it" if left else ""
    typer.echo(f"{len(ids):,} vectors written to {folder}{told}")
