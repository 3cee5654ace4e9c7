"""`curate preview`: a few rows, each beside its way through the steps.

A preview is a real run of the first rows, in a folder that is thrown away; replies go to the store
as always, so the run that follows does not pay for them again.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from curate.cli.commands.explain import SHORT
from curate.cli.flags import Flags, shared_flags, steps_that_begin
from curate.cli.text_layout import Tinted, beside, filled, show, width
from curate.row import printable
from curate.runs.explain import describe
from curate.runs.report import ENDINGS
from curate.step import Grow

if TYPE_CHECKING:
    from curate.pipeline import Pipeline
    from curate.runs.explain import RowHistory

ENDS = ("used", "dropped", "failed")
MOST_TURNS = 4
# Of what became of a row at a step, and of who says a turn, where there are colours.
COLORS = {"passed": "green", "dropped": "red", "failed": "red", "used": "yellow"}
ROLE = "cyan"


@shared_flags
def command(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE|INPUT|[INPUT] STEP[:key=value,...]",
            help="A recipe, an INPUT, or an optional INPUT followed by steps.",
            autocompletion=steps_that_begin,
        ),
    ],
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows to read.")] = 5,
    no_pager: Annotated[
        bool,
        typer.Option(
            "--no-pager", help="Print everything at once instead of using $PAGER (default: less)."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: counts, rewritten, unreadable, rows (each as in explain --json).",
        ),
    ] = False,
    *,
    flags: Flags,
) -> None:
    """Show a few rows, each next to what the steps did to it."""
    from curate.cli.running import finish, start
    from curate.cli.text_layout import json_text

    pipeline = _pipeline_of(what, answered=bool(flags.model))
    # A pool is what it is as a whole only; it grows by a few rows, in rounds that a run repeats.
    grows = any(isinstance(step, Grow) for step in pipeline.steps)
    limit = flags.limit if grows else flags.limit or count
    pipeline = dataclasses.replace(
        pipeline,
        steps=tuple(
            dataclasses.replace(step, target=min(count, step.target or count))
            if isinstance(step, Grow)
            else step
            for step in pipeline.steps
        ),
    )
    with tempfile.TemporaryDirectory(prefix="curate-preview-") as folder:
        result = start(pipeline, flags, run=Path(folder) / "run", limit=limit)
        if flags.dry_run:
            finish(result, flags, as_json=as_json)
            return
        labels = [step["label"] for step in result.summary["steps"]]
        unreadable = result.summary["unreadable"]
        lines = [printable(f"unreadable {e['file']}:{e['line']}: {e['error']}") for e in unreadable]
        rows = [row for name in ENDINGS for row in getattr(result, name) if row.kind]
        if grows:
            # Those that grew (a row that was read has three numbers to order it), not their pool.
            rows = [row for row in rows if len(row.seq) > 3]
        histories = {
            row.id: result.explain(row.id) for row in sorted(rows, key=lambda row: row.seq)
        }
        many = Histories(histories, labels)
        ends = Counter(history.outcome for history in histories.values())
        # A row that another of its kind stands in for is no row less.
        rewritten = sum(map(many.is_rewritten, histories.values()))
        if as_json:
            found = {"counts": {name: ends[name] for name in ENDINGS}, "rewritten": rewritten}
            shown = [dataclasses.asdict(history) for history in histories.values()]
            typer.echo(json_text({**found, "unreadable": unreadable, "rows": shown}))
            return
        for history in histories.values():
            # The only row made of another one is shown to the right of that one.
            parent = histories.get(history.parents[0].id) if history.parents else None
            if parent is None or many.only_child(parent) is None:
                lines.extend(many.block(history))
        ends["used"] -= rewritten
        told = ", ".join(f"{ends[name]} {name}" for name in ENDINGS if ends[name])
        lines.append(f"{told}; {rewritten} rewritten on the way" if rewritten else told)
    # The folder is gone by then: a pager stays open as long as somebody reads.
    show("\n".join(lines).strip("\n"), pager=not no_pager, color=context.color)


def _pipeline_of(what: list[str], *, answered: bool) -> Pipeline:
    """Return the recipe, or the steps with their input (the example data, if none is given)."""
    from curate.cli.step_arguments import steps_of
    from curate.pipeline import Pipeline
    from curate.recipe import catalog
    from curate.recipe.step_file import ADDRESS
    from curate.system import package_data as data

    names = catalog.operators()
    first = what[0]
    is_step = first.partition(":")[0] in names or ADDRESS.match(first) is not None
    if len(what) == 1 and not is_step:
        if not data.names_rows(first):
            return Pipeline.from_yaml(data.recipe(first), answered=answered)
        return Pipeline([], inputs=first)
    source, texts = first, what[1:]
    if is_step:
        source, texts = "pipelines/data/tasks.jsonl.gz", what
    return Pipeline(steps_of(source, texts, answered=answered), inputs=source)


class Histories(NamedTuple):
    """The rows of a preview by id, and the labels of its steps."""

    histories: Mapping[str, RowHistory]
    labels: Sequence[str]

    def only_child(self, history: RowHistory) -> RowHistory | None:
        """Return the row that replaced `history`, if it is one."""
        if history.outcome != "used" or len(history.children) != 1:
            return None
        return self.histories.get(history.children[0])

    def is_rewritten(self, history: RowHistory) -> bool:
        """Tell whether one row of the same kind, turn by turn, replaced `history`."""
        pair = history, self.only_child(history)
        turns = [
            {name: len(value) for name, value in one.record.items() if isinstance(value, list)}
            for one in pair
            if one is not None
        ]
        return len(turns) == 2 and turns[0] == turns[1]

    def block(self, history: RowHistory) -> Iterator[str]:
        """Yield one row at the left, and at the right what became of it."""
        title = printable(f"== {history.id[:SHORT]}  {history.origin} ")
        yield typer.style(filled(title, width(), "="), bold=True)
        right = list(self._way(history, 0))
        yield beside(list(_record(history.record)), right)
        yield ""

    def _way(self, history: RowHistory, first: int) -> Iterator[Tinted]:
        """Yield the outcome of each step from `first` on, as long as the row was there."""
        said_by = {event["step"]: event for event in history.events}
        size = max(map(len, self.labels), default=0)
        for index in range(first, len(self.labels)):
            label = self.labels[index]
            event = said_by.get(label)
            if event is not None and event["outcome"] == "made":
                continue
            child = self.only_child(history)
            if event is None or (event["outcome"] != "used" or child is None):
                outcome = "passed" if event is None else event["outcome"]
                said = outcome if event is None else describe(event)
                yield Tinted(f"{label:<{size}}  {said}", COLORS.get(outcome))
            else:
                yield Tinted(f"{label:<{size}}  becomes", COLORS["used"])
                yield from (Tinted(f"  {text}", color) for text, color in _record(child.record))
                yield from self._way(child, index + 1)
            if event is not None and event["outcome"] in ENDS:
                return


def _record(record: Mapping[str, Any]) -> Iterator[Tinted]:
    """Yield a row's turns, each after its role, and its other fields."""
    for name, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            if name != "messages":
                yield Tinted(f"[{name}]", ROLE)
            for index, turn in enumerate(value):
                if index == 1 and len(value) > MOST_TURNS:
                    yield Tinted(f"... {len(value) - MOST_TURNS:,} more ...")
                if index == 0 or index > len(value) - MOST_TURNS:
                    said_last = turn["messages"][-1:] if "messages" in turn else [turn]
                    score = f"{turn['score']} " if turn.get("score") is not None else ""
                    for message in said_last:
                        said = f"{score}{message.get('role', '')}: {message.get('content', '')}"
                        yield Tinted(said, ROLE)
        elif isinstance(value, str) and value:
            yield Tinted(f"{name}: {value}")
