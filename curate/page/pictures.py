"""A run as pictures for papers: its funnel, its reasons, and its scores with their thresholds.

The same run gives the same bytes, with the same version and settings of matplotlib: nothing in a
file says when it was made, or with what.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.page import facts
from curate.page.opened_run import StepScores, open_run, step_scores
from curate.row import printable
from curate.runs.report import funnel
from curate.runs.style_map import write_style_maps
from curate.system.package_data import require_extra

# Okabe and Ito's colours, told apart by the colour-blind; hatches tell them apart in print.
KEPT, LOST, OTHER = "#0072b2", "#d55e00", "#999999"
_HATCH = "////"
_MOST_REASONS = 20
_LONGEST_LABEL = 60


def write_pictures(run: Path, folder: Path) -> list[Path]:
    """Write the pictures of a finished run into `folder`, which is made; return their paths.

    They are `funnel.png`, `reasons.png` (where rows were dropped or failed), `scores_LABEL.png` for
    every step whose scores differ, and `LABEL.png` with `LABEL.csv` for every `style_report`.

    Raises:
        UsageError: the run has not finished, or has no steps to draw.
        MissingExtra: matplotlib is not installed.
    """
    require_extra("figures", "--png", "matplotlib")
    opened = open_run(run)
    if not opened.summary["steps"]:
        raise UsageError(f"{run} has nothing to draw: its recipe has no steps")
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "funnel.png"]
    _draw_funnel(opened.summary, written[0])
    reasons = _reasons(opened.summary)
    if reasons:
        written.append(folder / "reasons.png")
        _draw_reasons(reasons, written[-1])
    for at in range(len(opened.recipe["labels"])):
        scores = step_scores(opened, at)
        chart = scores and scores.chart()
        if scores is not None and chart is not None:
            written.append(folder / f"scores_{chart.label}.png")
            _draw_scores(chart, scores, written[-1])
    return written + write_style_maps(run, opened.summary, folder)


def _draw_funnel(summary: Mapping[str, Any], path: Path) -> None:
    """Draw what each step let through and what it took away, on one scale."""
    steps, _ = funnel(summary)
    axes = _bar_axes(len(steps), "rows")
    places = list(range(len(steps)))
    kept = [step["kept"] for step in steps]
    lost = [step["dropped"] + step["failed"] for step in steps]
    axes.barh(places, kept, color=KEPT, label="kept")
    axes.barh(places, lost, left=kept, color=LOST, hatch=_HATCH, label="dropped or failed")
    axes.bar_label(
        axes.containers[1],
        labels=[f"{k:,}" + (f"  −{n:,}" if n else "") for k, n in zip(kept, lost, strict=True)],
        padding=4,
        fontsize="small",
    )
    axes.set_yticks(places, [_literal(step["label"]) for step in steps])
    _save(axes.figure, path)


def _reasons(summary: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return each reason in words, its rows and its kind, the most frequent first.

    Failed rows of a step are one reason. What is beyond the first ones is one, too.
    """
    found = []
    for step in summary["steps"]:
        kind = "not chosen" if facts.only_chooses(step["name"]) else "dropped"
        found += [
            (f"{step['label']}: {why}", count, kind) for why, count in step["reasons"].items()
        ]
        if step["failed"]:
            found.append((f"{step['label']}: failed", step["failed"], "failed"))
    unreadable = summary["failed"] - sum(step["failed"] for step in summary["steps"])
    if unreadable > 0:
        found.append(("could not be read", unreadable, "failed"))
    found.sort(key=lambda each: (-each[1], each[0]))
    if len(found) > _MOST_REASONS:
        rest = found[_MOST_REASONS - 1 :]
        others = (f"{len(rest):,} other reasons", sum(count for _, count, _ in rest), "others")
        return [*found[: _MOST_REASONS - 1], others]
    return found


def _draw_reasons(reasons: Sequence[tuple[str, int, str]], path: Path) -> None:
    """Draw how many rows ended for each reason; kinds have a colour and a hatch each."""
    looks = {
        "dropped": (LOST, ""),
        "not chosen": (OTHER, ""),
        "failed": (LOST, _HATCH),
        "others": ("white", ".."),
    }
    axes = _bar_axes(len(reasons), "rows")
    for kind, (colour, hatch) in looks.items():
        places = [k for k, each in enumerate(reasons) if each[2] == kind]
        counts = [reasons[k][1] for k in places]
        if places:
            bars = axes.barh(
                places, counts, color=colour, hatch=hatch, edgecolor="black", lw=0.4, label=kind
            )
            axes.bar_label(bars, labels=[f"{n:,}" for n in counts], padding=4, fontsize="small")
    axes.set_yticks(range(len(reasons)), [_literal(each[0]) for each in reasons])
    _save(axes.figure, path)


def _draw_scores(chart: facts.ScoreChart, scores: StepScores, path: Path) -> None:
    """Draw the histogram of a step's scores, those that it stopped on top, and its thresholds."""
    axes = _figure(6.5, 3.2).add_subplot()
    if chart.values:
        lefts, widths = list(chart.edges[:-1]), [1.0] * len(chart.values)
        named = range(len(chart.values)) if len(chart.values) <= 12 else (0, len(chart.values) - 1)
        axes.set_xticks([k + 0.5 for k in named], [f"{chart.values[k]:.6g}" for k in named])
    else:
        lefts = list(chart.edges[:-1])
        widths = [b - a for a, b in zip(chart.edges[:-1], chart.edges[1:], strict=True)]
    look = {"align": "edge", "edgecolor": "white", "linewidth": 0.4}
    axes.bar(lefts, chart.passed, widths, color=KEPT, label="passed", **look)
    axes.bar(
        lefts,
        chart.stopped,
        widths,
        bottom=chart.passed,
        color=LOST,
        hatch=_HATCH,
        label="did not",
        **look,
    )
    low, high = (0, len(chart.values)) if chart.values else (chart.edges[0], chart.edges[-1])
    for style, one in zip(("--", ":", "-."), scores.what_ifs, strict=False):
        share = facts.place_of(chart, one.value, after=one.after)
        # Of a threshold that is far from all scores only the direction can be drawn.
        far = not chart.values and not low <= one.value <= high
        name = f"{one.field} {one.value:.6g}{', beyond these scores' if far else ''}"
        axes.axvline(low + (high - low) * share, color="black", linestyle=style, label=name)
    outside = [
        f"{n:,} {side}" for n, side in ((chart.below, "lower"), (chart.above, "higher")) if n
    ]
    beyond_chart = f" ({' and '.join(outside)} not shown)" if outside else ""
    axes.set_xlabel(f"{_literal(chart.label)}{beyond_chart}")
    axes.set_ylabel(f"rows of {chart.rows:,}")
    axes.spines[["top", "right"]].set_visible(False)
    _save(axes.figure, path)


def _figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches, drawn without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bar_axes(bars: int, unit: str) -> Any:
    """Return axes for horizontal bars, the first on top."""
    axes = _figure(6.5, 0.9 + 0.32 * bars).add_subplot()
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _literal(text: str) -> str:
    """Return a text as it is drawn: a dollar sign is one, and no formula."""
    line = printable(text)
    line = line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"
    return line.replace("$", r"\$")


def _save(figure: Any, path: Path) -> None:
    # Outside: inside it would lie on bars.
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize="small")
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(path, metadata={"Software": None})
