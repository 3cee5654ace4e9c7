"""The ledger: one line wherever a step scored, dropped, failed, used or made a row.

Plain passage is implied by silence. Lines are built as columns, in the order of rows, and a step's
lines of one part are one table.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

PASSED, USED, DROPPED, FAILED, MADE = range(5)
OUTCOMES = ("passed", "used", "dropped", "failed", "made")
SCHEMA = pa.schema(
    [
        ("row", pa.binary(16)),
        ("step", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("detail", pa.string()),
        ("partner", pa.binary(16)),
        ("parents", pa.list_(pa.binary(16))),
    ]
)
_NAMES = pa.array(OUTCOMES)


def dumps(value: Mapping[str, Any] | None) -> str | None:
    """Return a detail or note as compact JSON text."""
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, as a model's reply may hold one, survives as an escape only.
        return json.dumps(value, separators=(",", ":"), default=str)
    return text


def lines(
    step: str,
    ids: pa.Array,
    outcomes: np.ndarray,
    *,
    reasons: pa.Array | None = None,
    scores: np.ndarray | None = None,
    details: Sequence[str | None] | pa.Array | None = None,
    partners: pa.Array | None = None,
    parents: pa.Array | None = None,
) -> pa.Table:
    """Return ledger lines as a table of `SCHEMA`, an entry of each argument per line."""
    count = len(ids)
    score = pa.nulls(count, pa.float64())
    if scores is not None:
        score = pa.array(scores, pa.float64(), mask=np.isnan(scores))
    columns = [
        ids,
        pa.repeat(pa.scalar(step, pa.string()), count),
        _NAMES.take(pa.array(outcomes.astype(np.int8))),
        pa.nulls(count, pa.string()) if reasons is None else reasons,
        score,
        pa.nulls(count, pa.string()) if details is None else pa.array(details, pa.string()),
        pa.nulls(count, pa.binary(16)) if partners is None else partners,
        pa.nulls(count, pa.list_(pa.binary(16))) if parents is None else parents,
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


@dataclass
class StepTally:
    """What a step did, in numbers: `entered + made = kept + used + dropped + failed`."""

    entered: int = 0
    made: int = 0
    used: int = 0
    dropped: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()
    # When it was at work, as (start, end) in seconds of one clock, which all processes share.
    spans: list[tuple[float, float]] = field(default_factory=list)

    def worked(self, since: float) -> None:
        """Note that the step was at work from `since` (of `time.perf_counter`) until now."""
        self.spans.append((since, time.perf_counter()))

    @property
    def seconds(self) -> float:
        """How long the step was at work; what happened at the same time counts once."""
        total, until = 0.0, -math.inf
        for start, end in sorted(self.spans):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total

    @property
    def kept(self) -> int:
        """Rows that went on to the next step."""
        return self.entered + self.made - self.used - self.dropped - self.failed

    def add(self, other: StepTally) -> None:
        """Add the numbers of another part."""
        for name in ("entered", "made", "used", "dropped", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons.update(other.reasons)
        self.spans.extend(other.spans)
        self.remarks += tuple(text for text in other.remarks if text not in self.remarks)

    def to_json(self, label: str, name: str) -> dict[str, Any]:
        """Return the entry of `report.json`."""
        return {
            "label": label,
            "name": name,
            "in": self.entered,
            "made": self.made,
            "kept": self.kept,
            "used": self.used,
            "dropped": self.dropped,
            "failed": self.failed,
            "reasons": dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))),
            "seconds": round(self.seconds, 3),
            **({"remarks": list(self.remarks)} if self.remarks else {}),
        }
