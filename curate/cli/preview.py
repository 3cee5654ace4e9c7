"""`curate preview`: a few rows before and after each step, side by side.

A preview is a real run of the first rows, in a folder that is thrown away; replies go to the store
as always, so the run that follows does not pay for them again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from curate.cli.completion import steps_that_begin
from curate.cli.flags import Flags, shared_flags
from curate.cli.screen import side_by_side, width
from curate.row import printable

if TYPE_CHECKING:
    from curate.pipeline import Pipeline
    from curate.result import Result
    from curate.row import Row

SECTIONS = ("kept", "used", "dropped", "failed")
ENDS = ("used", "dropped", "failed")
# A row that never ended stayed beyond every step.
LAST = 1 << 30


class Seen(NamedTuple):
    """A row of a preview: behind which step it came, at which one it ended, and what was said."""

    row: Row
    came: int
    ended: int
    events: Mapping[str, Mapping[str, Any]]


@shared_flags
def command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE|STEP[:key=value,...]...",
            help="A recipe, or an optional INPUT followed by steps.",
            autocompletion=steps_that_begin,
        ),
    ],
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows to read.")] = 5,
    *,
    flags: Flags,
) -> None:
    """Show a few rows before and after each step, side by side."""
    from curate.cli.running import start

    pipeline = _pipeline_of(what)
    with tempfile.TemporaryDirectory(prefix="curate-preview-") as folder:
        result = start(pipeline, flags, run=Path(folder) / "run", limit=flags.limit or count)
        if flags.dry_run:
            return
        typer.echo("\n".join(_shown(result)).strip("\n"))


def _pipeline_of(what: list[str]) -> Pipeline:
    """Return the recipe, or the steps with their input (the example data, if none is given)."""
    from curate import catalog, data
    from curate.cli.arguments import step_of
    from curate.pipeline import Pipeline

    names = catalog.operators()
    first = what[0]
    if len(what) == 1 and first.partition(":")[0] not in names:
        return Pipeline.from_yaml(data.recipe(first))
    if first.partition(":")[0] in names:
        return Pipeline([step_of(text) for text in what], inputs="pipelines/data/tasks.jsonl.gz")
    return Pipeline([step_of(text) for text in what[1:]], inputs=first)


def _shown(result: Result) -> Iterator[str]:
    """Yield every step with the rows that reached it."""
    labels = [step["label"] for step in result.summary["steps"]]
    seen = _seen(result, labels)
    for entry in result.summary["unreadable"]:
        yield printable(f"unreadable {entry['file']}:{entry['line']}: {entry['error']}")
    for index, step in enumerate(result.summary["steps"]):
        yield from (
            "",
            f"== {step['label']}: {step['in']} in, {step['kept']} on ".ljust(width(), "="),
        )
        for one in seen:
            if one.came < index <= one.ended:
                yield from _before_and_after(one, index, step["label"], seen)


def _seen(result: Result, labels: list[str]) -> list[Seen]:
    """Return every row of the run in order, with its ledger lines by label."""
    lines = _ledger(result, labels)
    found = []
    for section in SECTIONS:
        for row in getattr(result, section):
            own = lines.get(row.id, {})
            came = [labels.index(label) for label, e in own.items() if e["outcome"] == "made"]
            ended = [labels.index(label) for label, e in own.items() if e["outcome"] in ENDS]
            if row.kind:
                found.append(Seen(row, min(came, default=-1), min(ended, default=LAST), own))
    return sorted(found, key=lambda one: one.row.seq)


def _ledger(result: Result, labels: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the ledger lines by row and label; a preview's ledger is a handful of lines."""
    import pyarrow.parquet as pq

    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for label in labels:
        for path in sorted((result.folder / "ledger" / label).glob("*.parquet")):
            for line in pq.ParquetFile(path).read().to_pylist():
                own = lines.setdefault(line["row"].hex(), {})
                # A row that is scored and then dropped has said the most with its last line.
                own[label] = {**line, "score": line["score"] or own.get(label, {}).get("score")}
    return lines


def _before_and_after(one: Seen, index: int, label: str, seen: list[Seen]) -> Iterator[str]:
    """Yield one row beside what the step made of it."""
    event = one.events.get(label)
    children = [c for c in seen if c.came == index and one.row.id in c.row.parents]
    after = "\n\n".join(_text(child.row) for child in children)
    said = "" if event is None or event["outcome"] == "made" else _said(event)
    right = "\n\n".join(part for part in (said, after) if part) or "(passes)"
    yield side_by_side(_text(one.row), right)
    yield "-" * width()


def _said(event: Mapping[str, Any]) -> str:
    reason = f": {event['reason']}" if event["reason"] else ""
    score = f" (score {event['score']:.6g})" if event["score"] is not None else ""
    return f"{event['outcome']}{reason}{score}"


def _text(row: Row) -> str:
    """Return a row's turns, each behind its role."""
    texts = []
    for name, value in row.fields.items():
        if isinstance(value, tuple) and value and hasattr(value[0], "role"):
            texts += [f"{name if row.kind != 'sft' else m.role}: {m.content}" for m in value]
        elif name == "candidates":
            texts += [f"{c.score}: {c.messages[-1].content}" for c in value if c.messages]
        elif value is not None:
            texts.append(f"{name}: {value}")
    return "\n".join(texts)
