"""`curate export`: the rows of a run or of a file, written for trainers and other tools."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from curate.cli import WHOLE_RUN
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
from curate.read.finished_runs import is_run

if TYPE_CHECKING:
    from curate.runs.rows import Rows

MOST_SHOWN = 5
# Forms that need vectors, and what they hold.
ENCODED = {"faiss": "vectors and ids", "embedding_atlas": "every row with its place on a map"}


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
            "shards named as on the Hugging Face Hub: train-00000-of-00004.parquet; both also at "
            "an address, as s3://BUCKET/PATH.",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND|FORMAT",
            help="The shape to write, e.g. trl_dpo or llamafactory_kto (default: the kind's own); "
            "`faiss` writes vectors, ids and their encoder into a folder, `embedding_atlas` a map, "
            "`run` copies the whole run with its store to an address, or from one to a folder.",
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
    without_store: Annotated[
        bool,
        typer.Option(
            "--without-store",
            help="Of --as run: leave out the store (the replies of all runs that used it).",
        ),
    ] = False,
    max_cost: EncodingCost = None,
    max_requests: EncodingRequests = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: written (path, rows, kind), left_out (rows, kind, reason), "
            "unreadable (file, line, error).",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Write the kept rows of a run, or the rows of a file, in another shape."""
    from curate.runs.written import check_replaceable
    from curate.system.credentials import address_of, is_address, refuse_credentials

    if is_address(output):
        output = address_of(output)
        refuse_credentials(output)
    if kind == WHOLE_RUN:
        given = split, shard_rows, shape, columns, max_cost, max_requests
        if marks or any(one is not None for one in given):
            raise UsageError("--as run copies a whole run; give only --replace or --without-store")
        _copy_run(source, output, replace, not without_store).show(output, as_json=as_json)
        return
    if without_store:
        raise UsageError("--without-store is for --as run; leave it out")
    if kind in ENCODED:
        if split is not None or marks or shard_rows is not None:
            raise UsageError(
                f"--as {kind} writes {ENCODED[kind]}; leave out --split, --marks and --shard-rows"
            )
        if is_address(output):
            raise UsageError(
                f"--as {kind} writes a folder of this machine; name one, and copy it to {output}"
            )
        place = Path(output)
        if place.suffix or place.is_file():
            raise UsageError(f"--as {kind} writes a folder; name one, as in -o {place.stem}/")
        check_replaceable(place, Path(source), replace=replace)
        write = _export_vectors if kind == "faiss" else _export_map
        write(source, place, shape, max_cost, max_requests).show(place, as_json=as_json)
        return
    if max_cost is not None or max_requests is not None:
        raise UsageError(
            f"--max-cost and --max-requests are for --as {' and '.join(ENCODED)}; leave them out"
        )
    asked = _Asked(source, kind, split, wanted_shape(shape, columns), marks, replace)
    if is_address(output):
        done = _write_to_address(asked, output, shard_rows)
    else:
        done = _write(asked, _target(output, split, shard_rows, source))
    done.show(output, as_json=as_json)


def _copy_run(source: str, output: str, replace: bool, with_store: bool) -> _Exported:
    from curate.publish.run_copy import copy_run

    done = copy_run(source, output, replace=replace, with_store=with_store)
    store = f", {done.store_bytes:,} of them its store" if done.store_bytes else ""
    said = f"run written to {output}: {done.files:,} files, {done.bytes:,} bytes{store}"
    return _Exported([(output, done.files, "run")], [], [], said)


class _Asked(NamedTuple):
    """What is to be written: rows of `source`, in the shape `read_as` where it is not a run."""

    source: str
    shape: str | None
    split: str | None
    read_as: str | None
    marks: bool
    replace: bool


class _Exported(NamedTuple):
    """What was written where, what the shape has no place for, and lines that are in neither."""

    written: list[tuple[Path | str, int, str | None]]
    left_out: list[tuple[int, str | None, str]]
    unreadable: list[dict[str, Any]]
    # For people, in place of the plain line.
    told: str = ""

    def show(self, path: Path | str, *, as_json: bool) -> None:
        """Print what was written where and, as JSON, all else; people are told that apart.

        Lines that could not be read, and so are not in `path`, set the exit code.
        """
        from curate.cli.failures import say
        from curate.cli.text_layout import json_text

        if as_json:
            written = [{"path": str(p), "rows": n, "kind": kind} for p, n, kind in self.written]
            left = [{"rows": n, "kind": kind, "reason": why} for n, kind, why in self.left_out]
            data = {"written": written, "left_out": left, "unreadable": self.unreadable}
            typer.echo(json_text(data))
        else:
            for place, count, _ in self.written:
                typer.echo(self.told or f"{count:,} rows written to {place}")
            for entry in self.unreadable[:MOST_SHOWN]:
                say(f"unreadable {entry['file']}:{entry['line']}: {entry['error']}")
        if self.unreadable:
            say(f"{len(self.unreadable):,} lines could not be read and are not in {path}")
            raise typer.Exit(1)


def _write_to_address(asked: _Asked, output: str, shard_rows: int | None) -> _Exported:
    """Write files of this machine first, and send them when all rows are in them."""
    from curate.publish.remote_copy import RemoteTarget
    from curate.write import is_folder

    target, folder = _target(output, asked.split, shard_rows, asked.source), is_folder(output)
    whole = RemoteTarget(output, folder=folder, replace=asked.replace)
    with tempfile.TemporaryDirectory(prefix="curate-export-") as aside:
        local = Path(aside) / whole.name
        done = _write(asked, target._replace(path=local), noted=False)
        base = whole.where if folder else whole.where.rpartition("/")[0]
        whole.check_layout(several=all(Path(path) != local for path, *_ in done.written))
        sent: list[tuple[Path | str, int, str | None]] = []
        for path, count, kind in done.written:
            # Rows of several kinds are in several files, or in a folder for each.
            below = Path(path).relative_to(local if folder else local.parent).as_posix()
            where = base if below == "." else f"{base}/{below}"
            place = RemoteTarget(where, folder=folder, replace=asked.replace)
            send = place.send_folder if folder else place.send_file
            sent.append((send(Path(path)), count, kind))
    return done._replace(written=sent)


def _write(asked: _Asked, target: _Target, *, noted: bool = True) -> _Exported:
    """Write files of this machine; those of a run are `noted` as its own."""
    from curate.cli.failures import say
    from curate.pipeline import Pipeline, Result
    from curate.read.paths import expand
    from curate.read.remote import is_remote
    from curate.runs.written import check_replaceable
    from curate.write import cut, path_of_part

    path, name, size = target
    source, split = Path(asked.source), asked.split
    own = is_run(source)
    if size is not None and not own:
        check_replaceable(path, source, replace=asked.replace)
    # A run that has not finished is a run, too: it says so.
    if own:
        opened = Result.open(source)
        kept, steps = opened.kept, opened.recipe["recipe"]["steps"]
        if split is None and any(
            "split" in ([one] if isinstance(one, str) else one) for one in steps
        ):
            say(f"both sides of the split are in {path}; --split train or --split test writes one")
        rows = kept if split is None else kept.split(split)
        return _export_run(rows, target, asked, noted=noted)
    if (split is not None or asked.marks) and not is_remote(asked.source):
        expand(asked.source)  # what is not there says so, rather than that it is no run
    if split is not None:
        raise UsageError(f"--split takes a run in which rows were split; {source} is not one")
    if asked.marks:
        raise UsageError(
            f"--marks takes a run, whose rows have scores and notes; {source} is not one"
        )
    # Data goes through a recipe without steps, so that unreadable lines are counted and named.
    with tempfile.TemporaryDirectory(prefix="curate-export-") as folder:
        whole = path if size is None else Path(folder) / "whole.parquet"
        result = Pipeline([], inputs=asked.source).run(
            run=Path(folder) / "run",
            output=whole,
            output_shape=asked.shape,
            shape=asked.read_as,
            replace=asked.replace,
        )
        found = result.kept.by_kind()
        exported = _Exported([], [], result.summary["unreadable"])
        for one, rows in found.items():
            several = one if len(found) > 1 else None
            place = path_of_part(path, several) if size is None else path / (several or "")
            if size is not None:
                part = path_of_part(whole, several)
                cut(part, place, rows=size, split=name, replace=asked.replace)
            exported.written.append((place, len(rows), one))
    return exported


def _export_run(rows: Rows, target: _Target, asked: _Asked, *, noted: bool) -> _Exported:
    """Write the kept rows of a run: one file or folder, or one for each kind.

    A shape holds one kind; what is left out then is said with the command that writes it.
    """
    from curate.cli.failures import say
    from curate.row import KINDS
    from curate.runs.written import beside_text, check_replaceable
    from curate.write import NATURAL, kind_of, path_of_part, write_rows, write_shards

    path, name, size = target
    shape, run = asked.shape, Path(asked.source)
    owner = run if noted else None
    found = rows.by_kind()
    wanted = {kind: own for kind, own in found.items() if shape is None or kind == kind_of(shape)}
    left = {kind: own for kind, own in found.items() if wanted and kind not in wanted}
    places: dict[str | None, Path] = {None: path}
    if len(wanted) > 1:
        if size is not None and path.is_dir():
            files = sorted(one.name for one in path.iterdir() if one.is_file())
            if shown := [name for name in files if not name.startswith(".")]:
                raise UsageError(beside_text(path, shown[0], several=True))
        places = {k: path / k if size is not None else path_of_part(path, k) for k in wanted}
    # Rows of a kind that is no longer there would be read as part of the data.
    several = len(wanted) > 1 and size is not None
    stale = [path / kind for kind in KINDS if several and kind not in wanted]
    for place in (*places.values(), *stale):
        check_replaceable(place, run, replace=asked.replace)
    exported = _Exported([], [], [])
    for kind, place in places.items():
        # Rows of no wanted kind at all are refused by the writer, with the shapes that fit them.
        own = wanted[kind] if kind else next(iter(wanted.values()), rows)
        if size is None:
            count = write_rows(own.tables(), place, shape, marks=asked.marks, run=owner)
        else:
            count = write_shards(
                own.tables(),
                place,
                shape,
                rows=size,
                split=name,
                marks=asked.marks,
                run=owner,
                replace=asked.replace,
            )
        exported.written.append((place, count, kind or next(iter(wanted), None)))
    for place in stale:
        if place.is_dir():
            shutil.rmtree(place)
    for kind, own in left.items():
        why = f"'{shape}' holds {kind_of(shape or kind)} rows"
        exported.left_out.append((len(own), kind, why))
        say(
            f"{len(own):,} {kind} rows are left out, as {why}; "
            f"write them with: curate export {run} --as {NATURAL[kind]} -o FILE"
        )
    return exported


class _Target(NamedTuple):
    """Where rows go: one file, or a folder of shards (`shard_rows` is then set)."""

    path: Path
    split: str
    shard_rows: int | None


def _target(output: str, split: str | None, shard_rows: int | None, source: str) -> _Target:
    from curate.system.credentials import is_address
    from curate.write import SHARD_ROWS, check_folder, is_folder

    if output.startswith(("hf://", "hub://")):
        place = output.partition("://")[2].removeprefix("datasets/").strip("/").split("/")
        name = "/".join(place[:2]) if len(place) > 1 else "ORG/NAME"
        raise UsageError(
            f"export writes files here, and {output} is on the Hub; send the rows there with: "
            f"curate push {source} {name}"
        )

    if is_folder(output):
        if not is_address(output):
            check_folder(output, replace=True)
        return _Target(Path(output), split or "train", shard_rows or SHARD_ROWS)
    if shard_rows is not None:
        raise UsageError(
            f"--shard-rows takes a folder, and {output} is one file; leave the option out, or name "
            f"a folder: -o {Path(output).stem}/"
        )
    return _Target(Path(output), split or "train", None)


def _export_vectors(
    source: str, folder: Path, shape: str | None, max_cost: float | None, max_requests: int | None
) -> _Exported:
    """Write the vectors of rows as a FAISS index, with their ids and the encoder's identity."""
    from curate.cli.commands.similar import index_source
    from curate.store.faiss_index import VectorIndex, write_index

    found = index_source(source, shape=shape, max_cost=max_cost, max_requests=max_requests)
    filled = found.vectors.any(axis=1).nonzero()[0].tolist()
    ids = [found.ids[row] for row in filled]
    with _new_folder(source, folder) as fresh:
        write_index(fresh, VectorIndex(found.vectors[filled], ids, found.about))
    left = len(found.ids) - len(ids)
    told = f"; {left:,} rows without a text are not in it" if left else ""
    without = [(left, None, "no text")] if left else []
    said = f"{len(ids):,} vectors written to {folder}{told}"
    return _Exported([(folder, len(ids), None)], [*without], found.unreadable, said)


def _export_map(
    source: str, folder: Path, shape: str | None, max_cost: float | None, max_requests: int | None
) -> _Exported:
    """Write every row with its place on a map, for Embedding Atlas."""
    import shlex

    from curate.cli.commands.similar import opened_source
    from curate.engine.encode_texts import Ceilings, encode_texts
    from curate.page.atlas import FILE, write_atlas

    path = Path(source)
    ceilings = Ceilings(str(path.resolve()) if path.exists() else source, max_cost, max_requests)
    with opened_source(source, shape=shape) as opened, _new_folder(source, folder) as fresh:
        written = write_atlas(
            opened.result.folder,
            opened.result.recipe["labels"],
            fresh,
            on=opened.on,
            vectors=lambda texts: encode_texts(texts, opened.encoder, opened.store, ceilings)[0],
        )
    left = written.left_out - len(opened.unreadable)
    told = f"; {left:,} rows without a text are not in it" if left else ""
    command = ["embedding-atlas", str(folder / FILE), "--text", "text", "--x", "x", "--y", "y"]
    said = f"{written.rows:,} rows written to {folder / FILE}{told}\n"
    said += f"open them with: {shlex.join([*command, '--neighbors', 'neighbors'])}"
    without = [(left, None, "no text")] if left else []
    return _Exported([(folder / FILE, written.rows, None)], [*without], opened.unreadable, said)


@contextmanager
def _new_folder(source: str, folder: Path) -> Iterator[Path]:
    """Give a place to write a folder; it takes the place of `folder` when all of it is written."""
    from curate.runs.written import put

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        fresh = Path(aside) / "fresh"
        yield fresh
        put(fresh, folder, Path(source) if (Path(source) / ".state").is_dir() else None)
