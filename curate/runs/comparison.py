"""What differs between the reports and the recipes of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.runs.report import ENDINGS

COUNTS = ("in", "made", *ENDINGS)
Reports = tuple[Mapping[str, Any], Mapping[str, Any]]


def report_differences(reports: Reports) -> dict[str, Any]:
    """Return the counts of two `report.json`, and their reasons, remarks and figures that differ.

    Each has two values, those of the first report and of the second. What one of them lacks is 0
    where rows are counted, else `None`.
    """
    reasons: dict[tuple[str, str], list[int]] = {}
    remarks: dict[tuple[str, str], list[str | None]] = {}
    figures: dict[tuple[str, str], list[float | None]] = {}
    for index, report in enumerate(reports):
        for step in report["steps"]:
            for reason, number in step["reasons"].items():
                reasons.setdefault((step["label"], reason), [0, 0])[index] = number
            for remark in step.get("remarks", ()):
                name, _, value = remark.partition(": ")
                remarks.setdefault((step["label"], name), [None, None])[index] = value
        for label, values in report.get("figures", {}).items():
            for name, value in values.items():
                figures.setdefault((label, name), [None, None])[index] = value
    return {
        "counts": {name: [report[name] for report in reports] for name in COUNTS},
        "reasons": [
            {"step": label, "reason": reason, "counts": pair}
            for (label, reason), pair in reasons.items()
            if pair[0] != pair[1]
        ],
        "remarks": [
            {"step": label, "remark": name, "values": values}
            for (label, name), values in remarks.items()
            if values[0] != values[1]
        ],
        "figures": [
            {"step": label, "figure": name, "values": pair}
            for (label, name), pair in figures.items()
            if pair[0] != pair[1]
        ],
    }


def recipe_difference(recipes: Reports, names: tuple[str, str]) -> list[str]:
    """Return the lines in which two recipes differ, as `diff -u` shows them."""
    import difflib

    from curate.system.plain_yaml import dump

    old, new = (dump(recipe).splitlines() for recipe in recipes)
    return list(difflib.unified_diff(old, new, *names, lineterm=""))
