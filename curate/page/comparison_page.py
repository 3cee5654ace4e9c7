"""The page of two runs: what differs between them, and the rows that ended differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.page import facts
from curate.page.changed_rows import Change, ChangedRows, End, changed_rows
from curate.page.drawn_rows import CHARACTERS
from curate.page.html import ROWS, Page, drawn_funnel
from curate.page.opened_run import OpenedRun, open_run, step_scores
from curate.page.rendering import as_shown, named, packed, render, shown, write_fitting
from curate.runs.comparison import recipe_difference, report_differences
from curate.runs.ledger_scores import score_column
from curate.runs.report import public_recipe

# By group and measure, the values of two datasets, as `curate.runs.dataset_table` makes it.
DatasetTable = Mapping[str, Mapping[str, Sequence[float | None]]]
_EXAMPLES = 4
_MOST_CHANGES = 40
# A longer name would make a column of numbers too wide to read.
_LONGEST_NAME = 32


def write_comparison(
    runs: tuple[Path, Path],
    path: Path,
    *,
    rows: int = ROWS,
    datasets: DatasetTable | None = None,
) -> Page:
    """Write the page of two finished runs to `path`.

    Args:
        runs: The run folders.
        path: The file, which is replaced.
        rows: How many of the rows that ended differently travel with their texts, at most; fewer
            where the page would exceed 20 MB, and at least 20 of every change.
        datasets: The table of what the runs kept as datasets, where it is to be shown.

    Raises:
        UsageError: a run has not finished.
    """
    opened = open_run(runs[0]), open_run(runs[1])
    reports = opened[0].summary, opened[1].summary
    names = _column_names(*map(named, runs))
    recipes = tuple(public_recipe(run.recipe["recipe"]) for run in opened)
    difference = report_differences(reports)
    # By label or source, in the second run's order, then those that only the first has.
    steps = [{step["label"]: step for step in drawn_funnel(report)} for report in reports]
    sources = [facts.sources(run) for run in runs]
    context = {
        "names": names,
        "runs": tuple(map(named, runs)),
        "reports": reports,
        "difference": difference,
        "funnel": [
            {"label": label, "steps": [own.get(label) for own in steps]}
            for label in dict.fromkeys((*steps[1], *steps[0]))
        ],
        "charts": list(_overlaid(opened, names)),
        "lengths": [
            (f"{outcome}, {name}", found[outcome])
            for outcome in ("kept", "dropped")
            for name, found in zip(names, map(facts.lengths, runs), strict=True)
            if outcome in found
        ],
        "sources": [
            (source, [own.get(source, {}) for own in sources])
            for source in dict.fromkeys((*sources[1], *sources[0]))
        ],
        "recipe": recipe_difference((recipes[0], recipes[1]), names),
        "datasets": datasets,
    }
    drawn_from = 0

    def page(most: int) -> tuple[str, int]:
        nonlocal drawn_from
        found = changed_rows(*runs, most)
        drawn_from = found.changed
        ends = [[shown(_in_words(change)), "", ""] for change in found.changes]
        columns = {name: as_shown(values) for name, values in found.columns.items()}
        carried = {
            "changed": found,
            "changes": _changes(found, runs),
            "rest": found.changes[_MOST_CHANGES:],
            "data": packed({"rows": columns, "ends": ends, "whatIf": [], "maps": []}),
            "carried": len(columns["id"]),
            "characters": CHARACTERS,
        }
        return render("comparison.html", {**context, **carried}), len(columns["id"])

    size, carried = write_fitting(path, rows, page)
    return Page(path, size, carried, drawn_from)


def write_dataset_comparison(names: tuple[str, str], datasets: DatasetTable, path: Path) -> Page:
    """Write the page of two datasets of which at least one is not a run: their table."""
    own = _column_names(*(named(Path(name)) for name in names))
    nothing: dict[str, list[Any]] = {name: [] for name in ("id", "end", "ask", "answer", "words")}
    data = packed({"rows": nothing, "ends": [], "whatIf": [], "maps": []})
    context = {"names": own, "datasets": datasets, "difference": None, "data": data}
    size, _ = write_fitting(path, 0, lambda _: (render("comparison.html", context), 0))
    return Page(path, size, 0, 0)


def _column_names(first: str, second: str) -> tuple[str, str]:
    """Return short, different names for two runs."""
    if first == second or max(len(first), len(second)) > _LONGEST_NAME:
        return "first", "second"
    return first, second


def _overlaid(runs: Sequence[OpenedRun], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the scores of each step that both runs have, as shares of the rows with a score."""
    import numpy as np

    labels = [list(run.recipe["labels"]) for run in runs]
    for at, label in enumerate(labels[1]):
        if label not in labels[0]:
            continue
        before = labels[0].index(label)
        kinds = {run.summary["steps"][k]["name"] for run, k in zip(runs, (before, at), strict=True)}
        # Two operators under one label measure two things.
        both = [step_scores(run, k) for run, k in zip(runs, (before, at), strict=True)]
        if len(kinds) > 1 or both[0] is None or both[1] is None:
            continue
        sizes = [len(one.found.scores) for one in both if one is not None]
        # The chart of all scores, in which those of the first run count as passed.
        scores = np.concatenate([one.found.scores for one in both if one is not None])
        limits = [
            (number, one)
            for number, own in enumerate(both)
            for one in (own.what_ifs if own is not None else ())
        ]
        of_first = np.arange(len(scores)) < sizes[0]
        chart = facts.score_chart(
            label, facts.LedgerScores(scores, of_first), [one.value for _, one in limits]
        )
        if chart is None or not min(sizes):
            continue
        heights = _heights(chart, sizes)[1]
        width = 1000 / len(heights)
        tops = (f"V{100 - high:.2f}H{(k + 1) * width:.2f}" for k, high in enumerate(heights))
        outline = f"M0 100{''.join(tops)}V100"
        yield {
            "label": label,
            "rows": sizes,
            "axis": facts.axis_of(chart),
            "named": len(facts.axis_of(chart)) == len(chart.values),
            "beyond": (chart.below, chart.above),
            "bars": _bars(chart, sizes, names),
            "outline": outline,
            "limits": [
                {
                    "run": number,
                    "place": f"{1000 * facts.place_of(chart, one.value, after=one.after):.2f}",
                    "text": f"{names[number]}: {one.field} {one.value:.6g}",
                }
                for number, one in limits
            ],
        }


def _heights(chart: facts.ScoreChart, sizes: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return the heights of both runs' bars: shares of their rows, the highest of all being 100."""
    first = [count / sizes[0] for count in chart.passed]
    second = [count / sizes[1] for count in chart.stopped]
    highest = max(*first, *second) or 1
    return [100 * share / highest for share in first], [100 * share / highest for share in second]


def _bars(
    chart: facts.ScoreChart, sizes: Sequence[int], names: Sequence[str]
) -> list[dict[str, str]]:
    """Return the first run's bars in the chart's coordinates, each with what both counted."""
    width = 1000 / len(chart.passed)
    found = []
    for k, height in enumerate(_heights(chart, sizes)[0]):
        said = ", ".join(
            f"{name} {count:,} ({count / size:.1%})"
            for name, count, size in zip(
                names, (chart.passed[k], chart.stopped[k]), sizes, strict=True
            )
        )
        found.append(
            {
                "x": f"{(k + 0.05) * width:.2f}",
                "width": f"{0.9 * width:.2f}",
                "height": f"{height:.2f}",
                "y": f"{100 - height:.2f}",
                "title": f"{facts.bar_name(chart, k)}: {said}",
            }
        )
    return found


def _changes(found: ChangedRows, runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the most frequent changes, each with some rows and the scores that decided."""
    shown_rows: list[list[int]] = [[] for _ in found.changes[:_MOST_CHANGES]]
    for place, change in enumerate(found.columns["end"]):
        if change < len(shown_rows) and len(shown_rows[change]) < _EXAMPLES:
            shown_rows[change].append(place)
    ids = [[found.columns["id"][place] for place in places] for places in shown_rows]
    by_label: dict[str, list[str]] = {}
    for change, own in zip(found.changes, ids, strict=False):
        for _, label, _ in (change.before, change.after):
            if label:
                by_label.setdefault(label, []).extend(own)
    scores = {
        label: [dict(zip(own, score_column(run, label, own), strict=True)) for run in runs]
        for label, own in by_label.items()
    }
    return [
        {
            "words": _in_words(change),
            "rows": change.rows,
            "examples": [
                {
                    "id": found.columns["id"][place],
                    "ask": found.columns["ask"][place],
                    "answer": found.columns["answer"][place],
                    "scores": [
                        (label, [of[found.columns["id"][place]] for of in scores[label]])
                        for label in dict.fromkeys((change.before[1], change.after[1]))
                        if label
                        and any(of[found.columns["id"][place]] is not None for of in scores[label])
                    ],
                }
                for place in places
            ],
        }
        for change, places in zip(found.changes, shown_rows, strict=False)
    ]


def _in_words(change: Change) -> str:
    """Return how rows ended in either run: `kept → dropped by length: fewer than 16 words`."""
    return f"{_end(change.before)} → {_end(change.after)}"


def _end(end: End) -> str:
    outcome, step, reason = end
    return f"{outcome} by {step}: {reason}" if step else outcome
