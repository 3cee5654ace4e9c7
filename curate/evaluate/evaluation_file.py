"""Write what was measured into the run that it was measured on: `evaluation.json`, and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curate.evaluate.pair_measures import figures_of
from curate.evaluate.rank_statistics import Interval
from curate.pipeline import Result
from curate.system.posix import write_atomically

FILE = "evaluation.json"


def plain(value: Any) -> Any:
    """Return measures as JSON data: an interval as its value and ends."""
    if isinstance(value, Interval):
        return {name: round(one, 6) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def write_evaluation(result: Result, found: Mapping[str, Any]) -> None:
    """Write the measures into the run's folder, and those that are one number into its report."""
    text = json.dumps(plain(found), ensure_ascii=False, indent=1) + "\n"
    write_atomically(result.folder / FILE, text)
    path = result.folder / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["figures"] = {**report.get("figures", {}), "evaluation": figures_of(found)}
    write_atomically(path, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
