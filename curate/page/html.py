"""The page of a run: what is counted over all its rows, and the rows that travel as data."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import CurateError
from curate.page import facts
from curate.page.cells import cell_tables
from curate.page.drawn_rows import CHARACTERS, DrawnRows, clipped, draw_rows
from curate.page.maps import Map, Vectors, meaning_map, style_maps
from curate.page.opened_run import OpenedRun, open_run, step_scores
from curate.page.rendering import as_shown, named, packed, render, shown, write_fitting
from curate.page.what_if import WhatIf
from curate.runs.lookup import Examples, examples
from curate.runs.report import NOT_BY_STEP, funnel, public_recipe

ROWS = 20_000
_EXAMPLES = 4
_LANGUAGE = "language"
# The width of a bar of scores beyond a chart, and of the gap before it, in bars.
_BEYOND = 1.5


class Page(NamedTuple):
    """A page that was written: its bytes, the rows that it carries, and those that there are.

    `without_map` says why there is no map by meaning, where a step has compared by meaning.
    """

    path: Path
    size: int
    rows: int
    drawn_from: int
    without_map: str = ""


def write_page(
    run: Path,
    path: Path,
    *,
    rows: int = ROWS,
    vectors: Callable[[Any], Vectors] | None = None,
) -> Page:
    """Write the page of a finished run to `path`.

    Args:
        run: The run folder.
        path: The file, which is replaced.
        rows: How many rows travel with their texts, at most; fewer where the page would exceed
            20 MB, and at least 20 of every reason.
        vectors: Returns, for the encoder of a recipe, what looks up the vectors of texts; a map by
            meaning needs it.

    Raises:
        UsageError: the run has not finished.
    """
    opened = open_run(run)
    summary, recipe, context = opened.summary, opened.recipe, _context(opened)
    drawn_from, without = 0, ""

    def page(most: int) -> tuple[str, int]:
        nonlocal drawn_from, without
        drawn = draw_rows(run, most)
        ids, drawn_from, without = drawn.columns["id"], drawn.drawn_from, ""
        maps = style_maps(run, summary, ids)
        try:
            maps += _meaning_map(summary, opened.steps, recipe["recipe"], drawn, vectors)
        except CurateError as error:
            without = str(error)
        data = {
            "rows": {name: as_shown(values) for name, values in drawn.columns.items()},
            "ends": [as_shown(end) for end in drawn.ends],
            "whatIf": context["what_ifs"],
            # A number, or none, for each row that travels.
            "maps": [
                {
                    "name": each.name,
                    "x": [each.places.get(one, (None,))[0] for one in ids],
                    "y": [each.places.get(one, (None, None))[1] for one in ids],
                    "groups": {
                        name: [shown(of.get(one, "")) for one in ids]
                        for name, of in each.groups.items()
                    },
                }
                for each in maps
            ],
        }
        carried = {
            "data": packed(data),
            "carried": len(ids),
            "drawn_from": drawn.drawn_from,
            "characters": CHARACTERS,
            "samples": {name: drawn.some(name, _EXAMPLES) for name in ("kept", "dropped")},
            "maps": [each.name for each in maps],
        }
        return render("report.html", {**context, **carried}), len(ids)

    size, carried = write_fitting(path, rows, page)
    return Page(path, size, carried, drawn_from, without)


def _meaning_map(
    summary: Mapping[str, Any],
    steps: Sequence[Any],
    recipe: Mapping[str, Any],
    drawn: DrawnRows,
    vectors: Callable[[Any], Vectors] | None,
) -> list[Map]:
    """Return the map by meaning where a step has compared by meaning."""
    encoders = recipe.get("encoders") or {}
    by_meaning = [s for s in steps if getattr(s, "encoder", None) in encoders and hasattr(s, "on")]
    if vectors is None or not by_meaning:
        return []
    step = by_meaning[0]
    # Rows that ended before that step have no vectors, and none are made for a picture.
    early = {one["label"] for one in summary["steps"][: list(steps).index(step)]}
    never = {k for k, (_, label, _) in enumerate(drawn.ends) if label in (*early, "read")}
    reached = {
        row: text
        for (row, text), end in zip(drawn.texts(step.on).items(), drawn.columns["end"], strict=True)
        if end not in never
    }
    named = [one.title for one in steps if one.name == "topics"]
    topics = drawn.notes(named[0], "name") if named else {}
    found = meaning_map(step.title, reached, topics, vectors(encoders[step.encoder]))
    return [found] if found else []


def _context(opened: OpenedRun) -> dict[str, Any]:
    """Return all that the template shows but the sampled rows."""
    import yaml

    run, summary, recipe, _, unknown = opened
    charts: list[dict[str, Any]] = []
    what_ifs: list[dict[str, Any]] = []
    for at in range(len(recipe["labels"])):
        scores = step_scores(opened, at)
        chart = scores and scores.chart()
        if scores is None or chart is None:
            continue
        first = len(what_ifs)
        what_ifs += [_slider(chart, one, run, summary) for one in scores.what_ifs]
        charts.append(
            {
                "chart": chart,
                "bars": _bars(chart),
                "axis": facts.axis_of(chart),
                "highest": _highest(chart),
                "sliders": what_ifs[first:],
            }
        )
        for number, slider in enumerate(what_ifs[first:], first):
            slider["number"] = number
    shared = public_recipe(recipe["recipe"])
    return {
        "name": recipe["recipe"].get("name") or run.name,
        "run": named(run),
        "began": recipe.get("began", ""),
        "verdict": facts.verdict(summary),
        "summary": summary,
        "spending": summary.get("spending", ()),
        "not_by_step": NOT_BY_STEP,
        "funnel": drawn_funnel(summary),
        "reasons": _reasons(run, recipe["labels"], summary),
        "charts": charts,
        "what_ifs": what_ifs,
        "unknown": unknown,
        "cells": _cells(run, summary),
        "lengths": facts.lengths(run),
        "sources": facts.sources(run),
        "languages": [
            found
            for step in opened.steps
            if step.name == _LANGUAGE
            and (found := facts.languages(run, step.title, step.languages)) is not None
        ],
        "recipe_text": yaml.safe_dump(shared, sort_keys=False, allow_unicode=True, width=100),
        "versions": recipe.get("versions", {}),
        "inputs": recipe.get("inputs", []),
        "remarks": [
            (step["label"], remark)
            for step in summary["steps"]
            for remark in step.get("remarks", ())
        ],
    }


def _cells(run: Path, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of planned cells, each cell with the widths of its two bars."""
    found = []
    for table in cell_tables(run, summary):
        pair = (table.planned, table.there)
        drawn = None not in pair and len(table.cells) > 1
        highest = max(
            (n for _, own in table.cells for k in pair if k is not None and (n := own[k])),
            default=1.0,
        )
        widths = [
            [f"{100 * (own[k] or 0) / highest:.2f}" for k in pair if k is not None] if drawn else []
            for _, own in table.cells
        ]
        found.append({"table": table, "drawn": drawn, "widths": widths})
    return found


def drawn_funnel(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps with what came, ended and went on, on one scale."""
    steps, whole = funnel(summary)
    shares = (
        (step["kept"] / (whole or 1), (step["dropped"] + step["failed"]) / (whole or 1))
        for step in steps
    )
    return [
        {
            **step,
            "share": kept,
            "width": f"{100 * kept:.3f}",
            "lost": f"{100 * min(1.0, lost):.3f}",
        }
        for step, (kept, lost) in zip(steps, shares, strict=True)
    ]


def _reasons(run: Path, labels: Sequence[str], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every reason with some rows, the most frequent first, those of a choice last."""
    whole = summary["in"] + summary["made"] or 1
    chosen = {s["label"] for s in summary["steps"] if facts.only_chooses(s["name"])}
    found = sorted(
        examples(run, labels, _EXAMPLES), key=lambda each: (each.step in chosen, -each.count)
    )
    return [
        {
            "step": each.step,
            "outcome": each.outcome,
            "chosen": each.step in chosen,
            "reason": each.reason or "(no reason noted)",
            "count": each.count,
            "share": each.count / whole,
            "rows": [_example(each, one) for one in each.ids],
        }
        for each in found
    ]


def _example(each: Examples, row: str) -> dict[str, Any]:
    ask, answer = each.texts.get(row, ("", ""))
    partner = each.partners.get(row)
    other = each.texts.get(partner, ("", "")) if partner else None
    return {
        "id": row,
        "score": each.scores.get(row),
        "ask": clipped(ask),
        "answer": clipped(answer),
        "partner": partner,
        "other": None if other is None else [clipped(text) for text in other],
        "detail": json.dumps(each.details[row], ensure_ascii=False)[:CHARACTERS]
        if row in each.details
        else "",
    }


def _bars(chart: facts.ScoreChart) -> list[dict[str, Any]]:
    """Return a chart's bars in its own coordinates: 1000 wide, 100 high.

    Scores beyond the chart have a bar at either end, with a gap before it.
    """
    names = [facts.bar_name(chart, k) for k in range(len(chart.passed))]
    left, slots = _slots(chart)
    bars = list(zip(count(left), chart.passed, chart.stopped, names, strict=False))
    for at, all_of, stopped, name in (
        (0.0, chart.below, chart.stopped_below, f"below {chart.edges[0]:.4g}"),
        (slots - 1, chart.above, chart.stopped_above, f"above {facts.axis_of(chart)[-1]:.4g}"),
    ):
        if all_of:
            bars.append((at, all_of - stopped, stopped, name))
    highest, width = _highest(chart), 1000 / slots
    found = []
    for at, passed, stopped, name in bars:
        up, down = 100 * passed / highest, 100 * stopped / highest
        found.append(
            {
                "x": f"{(at + 0.05) * width:.2f}",
                "width": f"{0.9 * width:.2f}",
                "passed": f"{up:.2f}",
                "stopped": f"{down:.2f}",
                "passed_at": f"{100 - up:.2f}",
                "stopped_at": f"{100 - up - down:.2f}",
                "title": f"{name}: {passed:,} passed, {stopped:,} did not",
            }
        )
    return found


def _highest(chart: facts.ScoreChart) -> int:
    """Return how many rows the highest bar holds."""
    return max(chart.below, chart.above, *map(sum, zip(chart.passed, chart.stopped, strict=True)))


def _slots(chart: facts.ScoreChart) -> tuple[float, float]:
    """Return where the first bar stands, and how wide a chart is, both in bars."""
    left = _BEYOND if chart.below else 0.0
    return left, left + len(chart.passed) + (_BEYOND if chart.above else 0.0)


def _slider(
    chart: facts.ScoreChart, one: WhatIf, run: Path, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the script needs to answer what another value would do."""
    left, slots = _slots(chart)
    places = (facts.place_of(chart, stop, after=one.after) for stop in one.stops)
    at = [round((left + place * len(chart.passed)) / slots, 5) for place in places]
    return {
        "label": one.label,
        "field": one.field,
        "value": one.value,
        "now": one.stops.index(one.value),
        "place": f"{1000 * at[one.stops.index(one.value)]:.2f}",
        "stops": one.stops,
        "at": at,
        "passes": one.passes,
        "kept": one.kept,
        "keptNow": summary["kept"],
        "next": one.next_step,
        "asking": one.asking,
        "command": f"curate run {shlex.quote(f'{named(run)}/run.yaml')} "
        f"--set steps.{one.label}.{one.field}=",
        "folder": f"{named(run)}-{one.label}-",
    }
