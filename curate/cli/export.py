"""`curate export`: the rows of a run or of a file, written for trainers and other tools."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from curate.cli.flags import (
    Columns,
    Debug,
    EncodingCost,
    EncodingRequests,
    Shape,
    Split,
    formats_that_begin,
    runs_that_begin,
    wanted_shape,
)
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.runs.rows import Rows

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
    from curate.write import cut, path_of_part

    if kind == "faiss":
        if split is not None or marks or shard_rows is not None:
            raise UsageError(
                "--as faiss writes vectors and ids; leave out --split, --marks and --shard-rows"
            )
        _export_vectors(source, Path(output), shape, max_cost, max_requests, replace=replace)
        return
    if max_cost is not None or max_requests is not None:
        raise UsageError("--max-cost and --max-requests are for --as faiss; leave them out")
    target = _target(output, split, shard_rows, source)
    path, name, size = target
    own = any((Path(source) / name).exists() for name in ("report.json", ".state"))
    if size is not None and not own:
        check_replaceable(path, Path(source), replace=replace)
    # A run that has not finished is a run, too: it says so.
    if own:
        kept = Result.open(Path(source)).kept
        rows = kept if split is None else kept.split(split)
        _export_run(rows, target, kind, Path(source), marks=marks, replace=replace)
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
            found = result.kept.by_kind()
            for one, rows in found.items():
                several = one if len(found) > 1 else None
                place = path_of_part(path, several) if size is None else path / (several or "")
                if size is not None:
                    part = path_of_part(whole, several)
                    cut(part, place, rows=size, split=name, replace=replace)
                typer.echo(f"{len(rows):,} rows written to {place}")
        for entry in result.summary["unreadable"][:MOST_SHOWN]:
            say(f"unreadable {entry['file']}:{entry['line']}: {entry['error']}")
        if result.exit_code:
            say(f"{result.summary['failed']:,} lines could not be read and are not in {path}")
            raise typer.Exit(result.exit_code)


def _export_run(
    rows: Rows, target: _Target, shape: str | None, run: Path, *, marks: bool, replace: bool
) -> None:
    """Write the kept rows of a run: one file or folder, or one for each kind.

    A shape holds one kind; what is left out then is said with the command that writes it.
    """
    from curate.cli.failures import say
    from curate.runs.written import check_replaceable
    from curate.write import NATURAL, kind_of, path_of_part, write_rows, write_shards

    path, name, size = target
    found = rows.by_kind()
    wanted = {kind: own for kind, own in found.items() if shape is None or kind == kind_of(shape)}
    left = {kind: own for kind, own in found.items() if wanted and kind not in wanted}
    places: dict[str | None, Path] = {None: path}
    if len(wanted) > 1:
        places = {k: path / k if size is not None else path_of_part(path, k) for k in wanted}
    for place in places.values():
        check_replaceable(place, run, replace=replace)
    for kind, place in places.items():
        # Rows of no wanted kind at all are refused by the writer, with the shapes that fit them.
        own = wanted[kind] if kind else next(iter(wanted.values()), rows)
        if size is None:
            count = write_rows(own.tables(), place, shape, marks=marks, run=run)
        else:
            count = write_shards(
                own.tables(),
                place,
                shape,
                rows=size,
                split=name,
                marks=marks,
                run=run,
                replace=replace,
            )
        typer.echo(f"{count:,} rows written to {place}")
    for kind, own in left.items():
        say(
            f"{len(own):,} {kind} rows are left out, as '{shape}' holds {kind_of(shape or kind)} "
            f"rows; write them with: curate export {run} --as {NATURAL[kind]} -o FILE"
        )


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
