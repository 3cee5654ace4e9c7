"""`curate explain`: the history of one row, in order."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.flags import Debug, runs_that_begin
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.pipeline import Result
    from curate.runs.explain import RowHistory
    from curate.runs.lookup import Examples

# A longer text is cut here unless --full: a history should fit a screen or two.
MOST_LINES = 12
# What is said of a request and its reply by itself; the rest of a reply follows these.
_EXCHANGE = ("model", "request", "reply", "damaged", "error", "earlier")
GAP = "... {:,} lines more (--full shows them) ..."
# And of each text where rows are shown beside each other.
MOST_BESIDE = 6
# These digits of an id are unique in a usual run; where they are not, `explain` lists the rows.
SHORT = 8


def command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=runs_that_begin)
    ],
    row: Annotated[
        str | None,
        typer.Argument(
            metavar="ROW",
            help="The first digits of its id, or FILE:NUMBER for a record of an input.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help="Show rows that this step dropped, those closest to the "
            "threshold first: duplicates "
            "next to the row that was kept.",
        ),
    ] = None,
    count: Annotated[
        int,
        typer.Option("-n", min=0, help="Without ROW: how many rows of each reason; 0 is all."),
    ] = 3,
    full: Annotated[bool, typer.Option("--full", help="Show texts in full.")] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: id, outcome, origin, record, notes, events, partners, exchanges, "
            "parents, children, before; without ROW a list of step, outcome, reason, count, shown "
            "(of so many), ids, texts, scores, partners, details.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Show a row's history: where it came from, and why it was kept, dropped or failed.

    Without ROW, show a few rows for every reason why rows were dropped or failed.
    """
    from curate.cli.text_layout import headed, json_text
    from curate.pipeline import Result

    if row is not None and step is not None:
        raise UsageError("--step shows rows of a step, and ROW is one row: leave one of them out")
    result = Result.open(run)
    if row is None:
        found = result.examples(count or sys.maxsize, step)
        data: Any = [{**dataclasses.asdict(one), "shown": len(one.ids)} for one in found]
        lines = (
            _shown(found, result.folder) if step is None else _closest(found, result, step, full)
        )
    else:
        history = result.explain(row)
        data, lines = dataclasses.asdict(history), _history(history, 0 if full else MOST_LINES)
    if as_json:
        typer.echo(json_text(data))
        return
    text = "\n".join(lines).rstrip()
    typer.echo(headed(text) if row is None else text)


def _shown(found: Sequence[Examples], run: Path) -> Iterator[str]:
    """Yield the reasons, each with its first rows: question and answer beside each other."""
    from curate.cli.text_layout import clipped, squeezed, width
    from curate.row import printable

    if not found:
        yield f"no row of {run} was dropped or failed"
        return
    size = (width() - len("  59a20100   | ")) // 2
    for one in found:
        # What is dropped or failed is one reason in one line, whatever an exception's text holds.
        reason = clipped(one.reason, 2 * size)
        yield f"{printable(one.step)}: {one.count:,} {one.outcome}, {reason}"
        for row in one.ids:
            asked, answered = (squeezed(text, size) for text in one.texts[row])
            yield f"  {row[:SHORT]}  {asked:<{size}} | {answered}".rstrip(" |")
        yield ""
    yield f"History of one row: curate explain {run} {found[0].ids[0][:SHORT]}"


def _closest(found: Sequence[Examples], result: Result, step: str, full: bool) -> Iterator[str]:
    """Yield what a step refused, the closest to its rule first, each row beside its partner."""
    from curate.cli.text_layout import beside, clipped, width
    from curate.row import printable

    run = result.folder
    if not found:
        yield printable(f"the step '{step}' dropped no row of {run}, and none failed there")
        return
    most, items = 0 if full else MOST_BESIDE, _items(result, step)
    for one in found:
        reason = clipped(one.reason, width() // 2)
        yield f"{printable(step)}: {one.count:,} {one.outcome}, {reason}; closest to the rule first"
        yield ""
        for row in one.ids:
            score, partner = one.scores[row], one.partners.get(row)
            detail, (asked, answered) = one.details.get(row) or {}, _sides(one, row)
            number = "" if score is None else f" {score:.6g}"
            kept = f" | {partner[:SHORT]} kept" if partner else ""
            if "against" in detail:
                kept = f" | {detail['against']}"
            if "test_set" in detail:
                kept = f" | {detail['test_set']}, item {detail['item']}"
            yield printable(f"=={number}  {row[:SHORT]} {one.outcome}{kept} ").ljust(width(), "=")
            item = items.get((detail.get("test_set"), detail.get("item")))
            if partner is None and item is None:
                yield beside([asked], [answered], most)
            else:
                right = [item or ""] if partner is None else _sides(one, partner)
                yield beside([asked, answered], right, most)
            yield ""
    yield f"History of one row: curate explain {run} {found[0].ids[0][:SHORT]}"


def _items(result: Result, step: str) -> Mapping[tuple[Any, Any], str]:
    """Return the test items with which `step` compared rows, by their set and place."""
    from curate.errors import CurateError
    from curate.steps import Contamination

    try:
        steps = [one for one in result.pipeline.steps if one.title == step]
        return {
            (item.test_set, item.place): item.text
            for one in steps
            if isinstance(one, Contamination)
            for item in one.items()
        }
    except (CurateError, ValueError):
        # A function cannot be read back from a recipe, and a test set may be gone: the place stays.
        return {}


def _sides(one: Examples, row: str) -> tuple[str, str]:
    asked, answered = one.texts.get(row, ("", ""))
    return f"user: {asked}" if asked else "", f"assistant: {answered}" if answered else ""


def _history(history: RowHistory, most: int) -> Iterator[str]:
    """Yield the lines of a row's history, those of its parents first."""
    from curate.row import printable
    from curate.runs.explain import describe

    for parent in history.parents:
        yield from _history(parent, most)
        yield ""

    yield f"row        {history.id}"
    yield f"came from  {printable(history.origin)}"
    if history.before is not None:
        command = shlex.join(["curate", "explain", history.before["run"], history.before["row"]])
        yield f"before     {printable(command)}"
    yield from _record(history.record, most)
    size = max([10, *(len(event["step"]) for event in history.events)])
    for event in history.events:
        detail = dict(event["detail"] or {})
        asked = detail.pop("asked", ())
        yield f"{event['step']:<{size}} {describe(event)}"
        for name, value in detail.items():
            yield from _text(name, value, most, 4)
        if event["partner"]:
            yield f"    the kept row {event['partner']}"
            yield from _record(history.partners.get(event["partner"], {}), most, 6)
        if event["parents"]:
            yield f"    from {', '.join(event['parents'])}"
        for key in asked:
            exchange = history.exchanges.get(key)
            if exchange is None or exchange["request"] is None:
                # A vector is kept by its text alone, not by who asked for it.
                why = (exchange or {}).get("error") or "for a vector, or no longer in the store"
                yield f"    asked {key} ({printable(why)})"
                continue
            yield f"    asked {printable(str(exchange['model']))}"
            for name, value in exchange["request"].items():
                if name == "messages":
                    for role, content, *_ in value:
                        yield from _text(role, content, most, 6)
                elif value not in (None, [], "") and name != "form":
                    yield from _text(name, value, most, 6)
            yield from _reply(exchange, most)
        for name, value in (history.notes.get(event["step"]) or {}).items():
            yield from _text(name, value, most, 4)
    # Rows may also be made of one that stays, as examples are shown.
    made = "replaced by" if history.outcome == "used" else "rows made from it:"
    yield f"in the end {history.outcome}" + (
        f"; {made} {', '.join(history.children)}" if history.children else ""
    )


def _reply(exchange: Mapping[str, Any], most: int) -> Iterator[str]:
    """Yield a reply: its text, where it has one, and the numbers beside or in place of it."""
    reply, beside = exchange["reply"], [n for n in exchange if n not in _EXCHANGE]
    if reply is None:
        damaged = "(damaged in the store: its checksum is wrong)"
        reply = damaged if exchange.get("damaged") else "(none)"
    if earlier := exchange.get("earlier", ()):
        yield "      asked again with --retry-failed, by this run or another one since:"
        for text in earlier:
            yield from _text("earlier reply", text, most, 6)
    if reply or not beside:
        yield from _text("reply", reply, most, 6)
    for name in beside:
        yield from _text(f"reply {name}", exchange[name], most, 6)


def _record(record: Mapping[str, Any], most: int, by: int = 4) -> Iterator[str]:
    """Yield a row's fields, each turn on lines of its own."""
    for name, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{' ' * by}{name}"
            for turn in value:
                yield from _turn(turn, most, by + 2)
        elif value is not None:
            yield from _text(name, value, most, by)


def _turn(turn: Mapping[str, Any], most: int, by: int) -> Iterator[str]:
    """Yield one message, or one candidate with its messages."""
    if "messages" in turn:
        about = ", ".join(f"{k} {turn[k]}" for k in ("score", "model") if turn.get(k) is not None)
        yield f"{' ' * by}candidate {about}".rstrip()
        for message in turn["messages"]:
            yield from _turn(message, most, by + 2)
        return
    yield from _text(str(turn.get("role", "")), turn.get("content", ""), most, by)
    rest = {k: v for k, v in turn.items() if k not in ("role", "content")}
    if rest:
        yield from _text("parts", rest, most, by + 2)


def _text(name: str, value: Any, most: int, by: int) -> Iterator[str]:
    """Yield `name: value`, further lines hanging below the first."""
    from curate.cli.text_layout import width, wrapped
    from curate.row import printable

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = max(30, width() - by - len(name) - 2)
    first, *others = wrapped(text, size, most, GAP)
    yield f"{' ' * by}{printable(name)}: {first}"
    yield from (f"{' ' * (by + 2)}{line}" for line in others)
