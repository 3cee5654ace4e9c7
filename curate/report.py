"""The report of a run: `report.json` as data, and the same as a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.row import printable


def render(summary: Mapping[str, Any]) -> str:
    """Return the funnel, the reasons and the spending of a run as plain text."""
    lines = [_totals(summary), "", *_funnel(summary), *_reasons(summary), *_unreadable(summary)]
    requests = summary["requests"]
    if any(requests.values()):
        tokens = summary["tokens"]
        lines += [
            "",
            f"requests   {requests['sent']:,} sent, {requests['replayed']:,} replayed, "
            f"{requests['failed']:,} failed, {requests['retried']:,} retried",
            f"tokens     {tokens['input']:,} in, {tokens['output']:,} out",
            f"cost       ${summary['cost_usd']:.4f}",
        ]
    lines += ["", f"{summary['seconds']:.1f} s, {summary['peak_memory_mb']:,.0f} MB at most"]
    return "\n".join(lines)


def _totals(summary: Mapping[str, Any]) -> str:
    names = ("in", "made", "kept", "used", "dropped", "failed")
    counts = [f"{summary[name]:,} {name}" for name in names]
    return " + ".join(counts[:2]) + " = " + " + ".join(counts[2:])


def _funnel(summary: Mapping[str, Any]) -> list[str]:
    """Return one line per step: how many came, went on, and ended."""
    names = ("in", "made", "used", "dropped", "failed", "kept")
    width = max([4, *(len(step["label"]) for step in summary["steps"])])
    head = f"{'step':<{width}}" + "".join(f"{name:>10}" for name in names) + f"{'seconds':>10}"
    rows = [
        f"{step['label']:<{width}}"
        + "".join(f"{step[name]:>10,}" for name in names)
        + f"{step['seconds']:>10.2f}"
        for step in summary["steps"]
    ]
    return [head, *rows]


def _reasons(summary: Mapping[str, Any]) -> list[str]:
    lines = [
        f"  {count:>8,}  {step['label']}: {printable(reason)}"
        for step in summary["steps"]
        for reason, count in step["reasons"].items()
    ]
    return ["", "dropped because", *lines] if lines else []


def _unreadable(summary: Mapping[str, Any]) -> list[str]:
    entries = summary["unreadable"]
    if not entries:
        return []
    shown = [f"  {e['file']}:{e['line']}: {printable(e['error'])}" for e in entries[:5]]
    more = [f"  ... and {len(entries) - 5:,} more (in failed/)"] if len(entries) > 5 else []
    return ["", f"unreadable lines: {len(entries):,}", *shown, *more]
