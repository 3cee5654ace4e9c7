"""`curate similar`: the rows whose meaning is nearest to a text or to a row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from curate.cli.flags import Debug, EncodingCost, EncodingRequests, Shape, runs_that_begin
from curate.errors import UsageError
from curate.read.finished_runs import is_run

if TYPE_CHECKING:
    from curate.engine.encode_texts import Ceilings
    from curate.pipeline import Result
    from curate.row import On

# From so few digits on, what is given is looked for among the ids.
LEAST_DIGITS = 6


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE|INDEX",
            help="A run (its kept rows), data, or a FAISS index that `export --as faiss` wrote.",
            autocompletion=runs_that_begin,
        ),
    ],
    query: Annotated[
        str,
        typer.Argument(metavar="TEXT|ROW", help="A text, or the first digits of a row's id."),
    ],
    count: Annotated[int, typer.Option("-k", min=1, help="How many rows to show.")] = 10,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="instruction|response|whole",
            help="The text of a row that is compared (default: as the run's own steps do, else "
            "whole).",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="ENCODER",
            help="Its name (default: the run's own, else MiniLM).",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", help="Default: the run's own, else .curate."),
    ] = None,
    shape: Shape = None,
    max_cost: EncodingCost = None,
    max_requests: EncodingRequests = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of JSON: cosine, id, text.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show the rows nearest in meaning to a text or a row, with their cosines.

    Vectors that the store has are not encoded again; the search is exact.
    """
    from curate.cli.failures import say
    from curate.cli.text_layout import json_text, squeezed, width
    from curate.kernels.vectors.nearest_rows import NearestRows
    from curate.row import printable

    indexed = index_source(
        source,
        on=on,
        encoder=encoder,
        store=store,
        shape=shape,
        max_cost=max_cost,
        max_requests=max_requests,
    )
    if indexed.unreadable:
        say(f"{len(indexed.unreadable):,} lines of {source} could not be read and are not searched")
    vector, own = _vector(query, indexed)
    rows, cosines = NearestRows(indexed.vectors).nearest(vector, count + (own is not None))
    found = [(int(row), float(cos)) for row, cos in zip(rows, cosines, strict=True) if row != own]
    found = found[:count]
    texts = indexed.texts
    if as_json:
        entries = [
            {"cosine": cosine, "id": indexed.ids[row], **({"text": texts[row]} if texts else {})}
            for row, cosine in found
        ]
        typer.echo(json_text(entries))
        return
    if not found:
        typer.echo("no row has a text to compare")
    for row, cosine in found:
        shown = indexed.ids[row][:8] if texts else indexed.ids[row]
        head = f"{cosine:8.4f}  {shown}  "
        text = squeezed(texts[row], max(20, width() - len(head))) if texts else ""
        typer.echo(printable(head + text).rstrip())


class IndexedSource(NamedTuple):
    """Rows with their vectors: ids, texts (none where an index has only ids), and the encoder.

    `unreadable` are the lines of data that are not rows.
    """

    vectors: Any
    ids: list[str]
    texts: list[str]
    about: dict[str, Any]
    store: Path
    ceilings: Ceilings
    unreadable: list[dict[str, Any]]


def index_source(
    source: str,
    *,
    on: str | None = None,
    encoder: str | None = None,
    store: Path | None = None,
    shape: str | None = None,
    max_cost: float | None = None,
    max_requests: int | None = None,
) -> IndexedSource:
    """Return the rows of a run, of data or of a FAISS index with their vectors.

    Raises:
        CeilingReached: encoding the texts of this source could pass a ceiling.
        UsageError: there are no rows, or `on` names no text.
    """
    from curate.engine.encode_texts import Ceilings, encode_texts
    from curate.engine.options import DEFAULT_STORE
    from curate.recipe.recipe import DEFAULT_ENCODER
    from curate.store.faiss_index import is_index, read_index

    path = Path(source)
    tally = str(path.resolve()) if path.exists() else source
    ceilings = Ceilings(tally, max_cost, max_requests)
    if is_index(source):
        index = read_index(source)
        spec = encoder or index.about.get("encoder", next(iter(DEFAULT_ENCODER.values())))
        about = {**index.about, "encoder": spec}
        where = store or DEFAULT_STORE
        return IndexedSource(index.vectors, list(index.ids), [], about, where, ceilings, [])
    with opened_source(source, on=on, encoder=encoder, store=store, shape=shape) as opened:
        rows = [(row.id, row.text(opened.on)) for row in opened.result.kept]
    if not rows:
        raise UsageError(f"{source} has no rows to compare")
    ids, texts = (list(column) for column in zip(*rows, strict=True))
    vectors, identity = encode_texts(texts, opened.encoder, opened.store, ceilings)
    about = {"encoder": opened.encoder, "identity": identity, "on": opened.on}
    return IndexedSource(vectors, ids, texts, about, opened.store, ceilings, opened.unreadable)


class OpenedSource(NamedTuple):
    """A run, or data read as one: which text of a row is encoded, by what, and its store.

    `unreadable` are the lines of data that are not rows; a run has said so itself.
    """

    result: Result
    on: On
    encoder: Any
    store: Path
    unreadable: list[dict[str, Any]]


@contextmanager
def opened_source(
    source: str,
    *,
    on: str | None = None,
    encoder: str | None = None,
    store: Path | None = None,
    shape: str | None = None,
) -> Iterator[OpenedSource]:
    """Open a run, or read data into one that is gone afterwards.

    What is not given is as the run's first step that embeds has it, else MiniLM and whole rows.

    Raises:
        UsageError: `on` names no text, or the run has not finished.
    """
    from curate.engine.options import DEFAULT_STORE
    from curate.pipeline import Pipeline, Result
    from curate.recipe.recipe import DEFAULT_ENCODER

    if on not in (None, "instruction", "response", "whole"):
        raise UsageError(f"--on is '{on}'; allowed are instruction, response and whole")
    unreadable: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="curate-similar-") as folder:
        if is_run(Path(source)):
            result = Result.open(source)
            # What is not said is that of the run's first step that embeds, and its store.
            encoders = result.recipe["recipe"].get("encoders") or {}
            noted = result.recipe["options"].get("store")
            own = next(
                (
                    fields
                    for step in result.recipe["recipe"]["steps"]
                    for fields in (step.values() if isinstance(step, dict) else ())
                    if isinstance(fields, dict) and fields.get("encoder") in encoders
                ),
                {},
            )
            on, encoder = on or own.get("on"), encoder or encoders.get(own.get("encoder"))
            store = store or (Path(noted) if noted else None)
        else:
            result = Pipeline([], inputs=source).run(run=Path(folder) / "run", shape=shape)
            unreadable = result.summary["unreadable"]
        spec = encoder or next(iter(DEFAULT_ENCODER.values()))
        text: On = on or "whole"  # type: ignore[assignment]
        yield OpenedSource(result, text, spec, store or DEFAULT_STORE, unreadable)


def _vector(query: str, indexed: IndexedSource) -> tuple[Any, int | None]:
    """Return the vector of a text, or that of a row and its place."""
    from curate.engine.encode_texts import encode_texts

    hits = [place for place, one in enumerate(indexed.ids) if one == query]
    if not hits and len(query) >= LEAST_DIGITS:
        hits = [place for place, one in enumerate(indexed.ids) if one.startswith(query)]
    if len(hits) > 1:
        listed = ", ".join(indexed.ids[place] for place in hits[:5])
        raise UsageError(f"{len(hits)} ids begin with '{query}': {listed}; give more digits")
    if hits:
        if not indexed.vectors[hits[0]].any():
            raise UsageError(f"the row {indexed.ids[hits[0]]} has no text to compare")
        return indexed.vectors[hits[0]], hits[0]
    if not query.strip():
        raise UsageError("the text is empty; give one, or the first digits of a row's id")
    vectors, identity = encode_texts(
        [query], indexed.about["encoder"], indexed.store, indexed.ceilings
    )
    made_by = indexed.about.get("identity", identity)
    if made_by != identity or vectors.shape[1] != indexed.vectors.shape[1]:
        raise UsageError(
            f"the vectors are of {made_by} with {indexed.vectors.shape[1]} numbers, and the "
            f"encoder is {identity} with {vectors.shape[1]}; name theirs with --encoder"
        )
    return vectors[0], None
