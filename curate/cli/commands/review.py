"""`curate review`: people look at rows and label them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.flags import Debug, Shape
from curate.errors import UsageError
from curate.read.finished_runs import is_run

if TYPE_CHECKING:
    from curate.review.review_queue import ReviewQuestion

_QUESTIONS = {"keep": "fate", "rating": "rating", "choice": "chosen", "ranks": "ranks"}


def command(
    source: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run folder, or data.")],
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", min=1, help="Look at N rows at most.")
    ] = 500,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="ORDER",
            help="random, score:LABEL (the lowest first), or disagreement (of several scores).",
        ),
    ] = "random",
    outcome: Annotated[
        str, typer.Option("--outcome", help="kept, used, dropped, failed or all.")
    ] = "kept",
    step: Annotated[
        str | None, typer.Option("--step", metavar="LABEL", help="Rows that this step dropped.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="LABEL:LOW..HIGH",
            help="Rows that a step scored so; either bound may be left out.",
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic", metavar="NAME", help="Rows of a topic: its number, or a word of it."
        ),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(
            "--ask",
            help="keep, rating, choice, or ranks of all candidates (default: choice, if there are "
            "several answers).",
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", metavar="N", min=2, max=9, help="Ratings go from 1 to N.")
    ] = 5,
    words: Annotated[
        str | None,
        typer.Option("--words", metavar="A,B,...", help="What the ratings are called, 1 first."),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", metavar="N", min=1, help="The number of people per row (default: all)."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="The file for the labels (default: next to the data)."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the labels to a file, and exit."),
    ] = None,
    export_as: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORM",
            help="With --export: `decisions` for the step `reviewed`, or labelled `rows` for "
            "`aggregate` and `evaluate`.",
        ),
    ] = "decisions",
    templates: Annotated[
        bool,
        typer.Option("--templates", help="Write templates for `template` over the rows' columns."),
    ] = False,
    folder: Annotated[
        Path,
        typer.Option("--folder", metavar="DIR", help="Where --templates keeps its files."),
    ] = Path("templates"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 picks any free port.")
    ] = 8377,
    shape: Shape = None,
    debug: Debug = False,
) -> None:
    """Look at rows in a browser and label them, alone or with several people at once.

    A local page shows one row at a time; one key answers, saves and moves on. The verdicts of the
    run and of other people are shown after the answer. Labels are saved at once; --export writes
    the file that the step `reviewed` reads, or labelled rows.

    With --templates, the page is an editor for templates over the rows' columns instead; it saves
    them as files that the step `template` reads. A file is then read with --shape table unless
    another shape is named.
    """
    from curate.review.label_events import Labels
    from curate.system.copies import is_copy
    from curate.system.credentials import is_address

    if templates:
        others: dict[str, object] = {
            "--by": by != "random",
            "--step": step,
            "--score": score,
            "--topic": topic,
            "--ask": ask,
            "--words": words,
        }
        others |= {"--overlap": overlap, "--labels": labels, "--export": export}
        if unused := [flag for flag, given in others.items() if given]:
            raise UsageError(f"{unused[0]} is for labels; --templates takes no labels")
        _write_templates(source, folder, sample=sample, outcome=outcome, shape=shape, port=port)
        return
    if labels is None and (is_address(source) or is_copy(source)):
        raise UsageError(
            "labels are kept next to the data, and SQLite needs a disk of this machine: name a "
            "file with --labels FILE, also where they are exported"
        )
    path = labels or Path(f"{source.rstrip('/')}.review.sqlite")
    if export_as not in ("decisions", "rows"):
        raise UsageError(f"--as is decisions or rows, not '{export_as}'")
    if export is not None:
        _export(source, path, export, export_as, shape)
        return
    if export_as != "decisions":
        raise UsageError("--as is about a file of labels: name it with --export FILE")
    from curate.review import queue_of, serve
    from curate.review.review_queue import RowFilter, score_range

    order, _, label = by.partition(":")
    if order not in ("random", "score", "disagreement") or bool(label) != (order == "score"):
        raise UsageError(f"--by is random, score:LABEL or disagreement, not '{by}'")
    with _run_of(source, shape) as run:
        queue = queue_of(
            run,
            count=sample,
            by=order,  # type: ignore[arg-type]
            label=label or None,
            only=RowFilter(outcome, step, score_range(score) if score is not None else None, topic),
            question=_asked(ask, scale, words),
            overlap=overlap,
        )
    with Labels(path) as found:
        typer.echo(f"{len(queue.items):,} of {queue.total:,} rows; labels are kept in {path}")
        serve(queue, found, port, lambda address: typer.echo(f"open {address} (Ctrl-C ends)"))
    typer.echo(f"curate review {source} --export decisions.jsonl writes the labels")


def _export(source: str, labels: Path, path: Path, form: str, shape: str | None) -> None:
    """Write the labels of a file of events to `path`, as decisions or as labelled rows."""
    from curate.review import Labels
    from curate.review.labelled_rows import labelled_rows
    from curate.system.posix import write_atomically

    if not labels.is_file():
        raise UsageError(f"there are no labels in {labels}; review the rows first")
    with Labels(labels) as found:
        records = list(found.decisions())
        if records and form == "rows":
            with _run_of(source, shape) as run:
                records = list(labelled_rows(run, found.last()))
    if not records:
        raise UsageError(f"{labels} holds no label yet")
    write_atomically(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records))
    if form == "rows":
        typer.echo(f"{path}: {len(records):,} labelled rows, each with its annotator")
    else:
        typer.echo(f"{path}: {len(records):,} decisions; use them with reviewed:file={path}")


def _write_templates(
    source: str, folder: Path, *, sample: int, outcome: str, shape: str | None, port: int
) -> None:
    """Serve the page of templates over the rows of a run or a file."""
    from curate.review import Labels, queue_of
    from curate.review.review_queue import RowFilter
    from curate.review.template_files import TemplateFolder
    from curate.review.template_page import TriedRows, serve_templates

    own = None if is_run(Path(source)) else shape or "table"
    with _run_of(source, own) as run:
        queue = queue_of(run, count=sample, only=RowFilter(outcome))
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        unread = 0 if own is None else int(report["failed"])
        rows = sorted((item.row for item in queue.items.values()), key=lambda row: row.seq)
    # The page's key is kept where it writes, so that a page that is open survives a restart.
    with Labels(folder / ".review.sqlite") as settings:
        typer.echo(f"{len(rows):,} of {queue.total:,} rows; templates are saved in {folder}/")
        dataset = TriedRows(source, rows, queue.total, unread, own)
        serve_templates(
            dataset,
            TemplateFolder(folder),
            settings,
            port,
            lambda address: typer.echo(f"open {address} (Ctrl-C ends)"),
        )


def _asked(ask: str | None, scale: int, words: str | None) -> ReviewQuestion | None:
    """Return what is asked, or `None` for what suits each row."""
    from curate.review.review_queue import ReviewQuestion

    names = tuple(word.strip() for word in words.split(",")) if words else ()
    if names and len(names) != scale:
        raise UsageError(f"--words has {len(names)} names, and ratings go from 1 to {scale}")
    if ask is None:
        return ReviewQuestion("rating", scale, names) if names else None
    if ask not in _QUESTIONS:
        raise UsageError(f"--ask is {', '.join(_QUESTIONS)}, not '{ask}'")
    return ReviewQuestion(_QUESTIONS[ask], scale, names)  # type: ignore[arg-type]


@contextmanager
def _run_of(source: str, shape: str | None) -> Iterator[Path]:
    """Yield the folder of a finished run: `source`, or one that has only read it."""
    if is_run(Path(source)):
        from curate.pipeline import Result

        yield Result.open(source).folder
        return
    from curate.pipeline import Pipeline

    with tempfile.TemporaryDirectory(prefix="curate-review-") as folder:
        own = Path(folder)
        result = Pipeline([], inputs=source).run(run=own / "run", store=own / "store", shape=shape)
        yield result.folder
