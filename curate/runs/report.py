"""The report of a run: `report.json` as data, and the same as a text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.row import printable
from curate.runs.spread import SHARES, ScoreDistribution

# How every row ends; a run folder has a folder of each name.
ENDINGS = ("kept", "used", "dropped", "failed")
# Columns that say nothing where every step has a zero in them.
_RARE = ("made", "used", "failed")
_BAR = 14
_MOST_SHOWN = 5


class Failure(NamedTuple):
    """Rows that failed at one step with one error."""

    step: str
    error: str
    rows: int


def render(
    summary: Mapping[str, Any],
    failures: Sequence[Failure] = (),
    scores: Sequence[ScoreDistribution] = (),
) -> str:
    """Return the funnel, the reasons and the spending of a run as plain text."""
    lines = [_totals(summary), "", *_funnel(summary), *_reasons(summary), *_scores(scores)]
    lines += _remarks(summary)
    lines += [*_failures(summary, failures), *_unreadable(summary), *_spending(summary)]
    lines += ["", f"{summary['seconds']:.1f} s, {summary['peak_memory_mb']:,.0f} MB at most"]
    return "\n".join(lines)


def _totals(summary: Mapping[str, Any]) -> str:
    names = ("in", "made", *ENDINGS)
    counts = [f"{summary[name]:,} {name}" for name in names]
    return " + ".join(counts[:2]) + " = " + " + ".join(counts[2:])


def _funnel(summary: Mapping[str, Any]) -> list[str]:
    """Return one line per step: how many came, ended and went on, and what share is left."""
    steps = summary["steps"]
    rare = [name for name in _RARE if any(step[name] for step in steps)]
    names = ["in", *(n for n in ("made", "used") if n in rare), "dropped"]
    names += ["failed", "kept"] if "failed" in rare else ["kept"]
    # Where rows are made of nothing, or more than were read, the fullest step is the whole.
    whole = max([summary["in"], *(step["kept"] for step in steps)])
    cells = [["step", *names, "left", "", "seconds"]]
    for step in steps:
        share = step["kept"] / whole if whole else 0.0
        counts = [f"{step[name]:,}" if step[name] or name not in rare else "-" for name in names]
        end = [f"{share:.1%}", _bar(share), f"{step['seconds']:.2f}"]
        cells.append([step["label"], *counts, *end])
    return _columns(cells, left=(0, len(names) + 2))


def _bar(share: float) -> str:
    """Return `share` as a bar; what is left is never drawn as nothing."""
    return "█" * (max(1, round(share * _BAR)) if share > 0 else 0)


def _reasons(summary: Mapping[str, Any]) -> list[str]:
    found = [
        (step["label"], reason, count)
        for step in summary["steps"]
        for reason, count in step["reasons"].items()
    ]
    return ["", "dropped because", *_counted(found, summary["in"])] if found else []


def _scores(scores: Sequence[ScoreDistribution]) -> list[str]:
    """Return what the scores of each step are: how many of each, or where shares of them end."""
    many = [one for one in scores if not one.counts]
    few = [one for one in scores if one.counts]
    heads = ["least", *(f"{share:.0%}" for share in SHARES[1:-1]), "most"]
    cells = [
        [f"  {one.label}", f"{one.rows:,}", *(_number(value) for value in one.quantiles)]
        for one in many
    ]
    size = max((len(one.label) for one in few), default=0)
    counts = [
        f"  {printable(one.label):<{size}}  "
        + ", ".join(f"{count:,} of {_number(value)}" for value, count in one.counts)
        for one in few
    ]
    lines = ["", *_columns([["scores", "rows", *heads], *cells], left=(0,))] if many else []
    return lines + (["", "rows of each score", *counts] if few else [])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    found = [
        f"  {printable(step['label'])}: {printable(remark)}"
        for step in summary["steps"]
        for remark in step.get("remarks", ())
    ]
    return ["", "steps remark", *found] if found else []


def _failures(summary: Mapping[str, Any], failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    rest = len(failures) - _MOST_SHOWN
    more = [f"  ... and {rest:,} other errors (in failed/)"] if rest > 0 else []
    return ["", "failed because", *_counted(failures[:_MOST_SHOWN], summary["in"]), *more]


def _counted(found: Sequence[tuple[str, str, int]], whole: int) -> list[str]:
    """Return lines of a count, its share of the rows read, the step and the reason."""
    cells = [
        [f"{count:,}", f"{count / whole:.1%}" if whole else "", label, reason]
        for label, reason, count in found
    ]
    return [f"  {line}" for line in _columns(cells, left=(2, 3))]


def _columns(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Return rows as columns, numbers at the right of theirs and those of `left` at the left."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = ["<" if k in left else ">" for k in range(len(widths))]
    return [
        "  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip()
        for row in cells
    ]


def _unreadable(summary: Mapping[str, Any]) -> list[str]:
    entries = summary["unreadable"]
    if not entries:
        return []
    lines = (f"{e['file']}:{e['line']}: {e['error']}" for e in entries[:_MOST_SHOWN])
    shown = [f"  {printable(line)}" for line in lines]
    rest = len(entries) - _MOST_SHOWN
    more = [f"  ... and {rest:,} more (in failed/)"] if rest > 0 else []
    return ["", f"unreadable lines: {len(entries):,}", *shown, *more]


def _spending(summary: Mapping[str, Any]) -> list[str]:
    requests, tokens = summary["requests"], summary["tokens"]
    if not any(requests.values()):
        return []
    return [
        "",
        f"requests   {requests['sent']:,} sent, {requests['replayed']:,} replayed, "
        f"{requests['failed']:,} failed, {requests['retried']:,} retried",
        f"tokens     {tokens['input']:,} in, {tokens['output']:,} out",
        f"cost       ${summary['cost_usd']:.4f}",
        *_this_time(summary),
        *_estimate(summary.get("estimate")),
    ]


def _this_time(summary: Mapping[str, Any]) -> list[str]:
    """Say what the last execution asked, where the folder's earlier ones asked something, too."""
    own = summary.get("this_time")
    if own is None or all(own[name] == summary["requests"][name] for name in ("sent", "replayed")):
        return []
    return [
        f"this time  {own['sent']:,} sent, {own['replayed']:,} replayed, ${own['cost_usd']:.4f}; "
        "the lines above count all executions of this folder"
    ]


def _estimate(estimate: Mapping[str, Any] | None) -> list[str]:
    """Say what this execution was expected to ask, and how far that was off."""
    if not estimate or not estimate["actual"]["requests"]:
        return []
    off = estimate["off"]
    parts = [f"{estimate['requests']:,} requests ({_percent(off['requests'])})"]
    cost = estimate["cost_usd"]
    if cost is not None and (cost or estimate["actual"]["cost_usd"]):
        parts.append(f"${cost:.4f} ({_percent(off['cost_usd'])})")
    return [f"estimate   {', '.join(parts)}"]


def _percent(off: float | None) -> str:
    return "nothing was expected" if off is None else f"off by {off:+.0%}"
