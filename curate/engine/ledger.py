"""The ledger: one line wherever a step scored, dropped, failed, used or made a row.

Plain passage is implied by silence. A step's lines and its counts come from the same call,
`record_outcomes`, so that `entered + made = kept + used + dropped + failed` by construction.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.row import Row
from curate.step import FigureTotal

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
# Figures of so many rows wait to be added up.
_WAITING = 512


# Where an object lies in memory, as its text says: it differs from run to run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def plain(value: Any) -> Any:
    """Return what JSON has no form for as something it has, the same in every process."""
    if isinstance(value, set | frozenset):
        # Their order depends on the hash seed.
        return sorted(value, key=lambda one: json.dumps(one, sort_keys=True, default=plain))
    return _ADDRESS.sub("", str(value))


def dumps(value: Mapping[str, Any] | None) -> str | None:
    """Return a detail or note as compact JSON text."""
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=plain)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, as a model's reply may hold one, survives as an escape only.
        return json.dumps(value, separators=(",", ":"), default=plain)
    return text


class FigureTotals:
    """Exact sums of figures by name, and how many rows or groups have each.

    Memory does not grow with the rows: a sum is kept as a few floats that do not overlap, whose sum
    `math.fsum` rounds once (Shewchuk 1997), so that no order of rows changes a digit of a report.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._counts: dict[str, int] = {}

    def note(self, values: Mapping[str, float]) -> None:
        """Add the figures of one row or group."""
        for name, value in values.items():
            self._add(name, (value,), 1)

    def add(self, other: FigureTotals) -> None:
        """Add the sums of other rows."""
        for name, values in other._values.items():
            self._add(name, values, other._counts[name])

    def totals(self) -> dict[str, FigureTotal]:
        """Return each figure's sum and count, in the order in which the figures first came."""
        return {
            name: FigureTotal(_rounded(values), self._counts[name])
            for name, values in self._values.items()
        }

    def _add(self, name: str, values: Sequence[float], count: int) -> None:
        waiting = self._values.setdefault(name, [])
        waiting.extend(values)
        self._counts[name] = self._counts.get(name, 0) + count
        if len(waiting) <= _WAITING:
            return
        # A few floats with the same exact sum: what is left of it after each one is taken.
        partials: list[float] = []
        while part := _rounded(waiting):
            if math.isinf(part):
                partials = [part]
                break
            partials.append(part)
            waiting.append(-part)
        self._values[name] = partials


def _rounded(values: Sequence[float]) -> float:
    """Return the exact sum, rounded once; infinity where it is larger than any float."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf


@dataclass
class StepTally:
    """Count what a step did: `entered + made = kept + used + dropped + failed`."""

    entered: int = 0
    made: int = 0
    used: int = 0
    dropped: int = 0
    failed: int = 0
    # Of the used rows, those that one made row of their own kind stands in for.
    rewritten: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    # The totals of what single rows came with, of which the step makes its figures in the end.
    row_figures: FigureTotals = field(default_factory=FigureTotals)
    # When it was at work, as (start, end) in seconds of one clock, which all processes share.
    spans: list[tuple[float, float]] = field(default_factory=list)

    def worked(self, since: float) -> None:
        """Note that the step was at work from `since` (of `time.perf_counter`) until now."""
        self.spans.append((since, time.perf_counter()))

    @property
    def seconds(self) -> float:
        """Wall time of the step's work; what happened at the same time counts once."""
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
        for name in ("entered", "made", "used", "dropped", "failed", "rewritten"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons.update(other.reasons)
        self.spans.extend(other.spans)
        self.figures.update(other.figures)
        self.row_figures.add(other.row_figures)
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
            **({"rewritten": self.rewritten} if self.rewritten else {}),
            **({"remarks": list(self.remarks)} if self.remarks else {}),
        }


class StepRecord(NamedTuple):
    """A step's ledger lines on one part, and the counts taken from them."""

    label: str
    lines: pa.Table
    tally: StepTally


def record_outcomes(
    label: str,
    ids: pa.Array,
    outcomes: np.ndarray,
    *,
    entered: int,
    reasons: pa.Array | None = None,
    scores: np.ndarray | None = None,
    details: Sequence[str | None] | pa.Array | None = None,
    partners: pa.Array | None = None,
    parents: pa.Array | None = None,
) -> StepRecord:
    """Return the ledger lines of the step `label`, and its counts.

    `ids` and what follows hold one entry per line, in the order of rows: `outcomes` int8, `scores`
    float64 with NaN for none, `reasons` texts (or a dictionary of them). `entered` counts the rows
    that reached the step, those that passed without a line included.
    """
    count = len(ids)
    numbers = np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()
    tally = StepTally(entered, numbers[MADE], numbers[USED], numbers[DROPPED], numbers[FAILED])
    if tally.dropped and reasons is not None:
        found = pc.value_counts(reasons.filter(pa.array(outcomes == DROPPED)))
        tally.reasons.update({entry["values"]: entry["counts"] for entry in found.to_pylist()})
    score = pa.nulls(count, pa.float64())
    if scores is not None:
        score = pa.array(scores, pa.float64(), mask=np.isnan(scores))
    columns = [
        ids,
        pa.repeat(pa.scalar(label, pa.string()), count),
        _NAMES.take(pa.array(outcomes.astype(np.int8))),
        pa.nulls(count, pa.string()) if reasons is None else reasons.cast(pa.string()),
        score,
        pa.nulls(count, pa.string()) if details is None else pa.array(details, pa.string()),
        pa.nulls(count, pa.binary(16)) if partners is None else partners,
        pa.nulls(count, pa.list_(pa.binary(16))) if parents is None else parents,
    ]
    return StepRecord(label, pa.Table.from_arrays(columns, schema=SCHEMA), tally)


class _Line(NamedTuple):
    row: Row
    outcome: int
    reason: str | None
    score: float | None
    detail: str | None
    partner: str | None
    parents: Sequence[str] | None


class LedgerBuilder:
    """Collect a step's ledger lines one by one, for steps that touch few rows or make new ones."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._lines: list[_Line] = []

    def add(
        self,
        row: Row,
        outcome: int,
        reason: str | None = None,
        score: float | None = None,
        detail: Mapping[str, Any] | None = None,
        partner: str | None = None,
        parents: Sequence[str] | None = None,
    ) -> None:
        """Add one line about `row`."""
        self._lines.append(_Line(row, outcome, reason, score, dumps(detail), partner, parents))

    def record(self, entered: int) -> StepRecord:
        """Return the lines by `seq`, those of one row as they were added, and their counts."""
        ordered = sorted(self._lines, key=lambda line: line.row.seq)
        return record_outcomes(
            self.label,
            _ids([line.row.id for line in ordered]),
            np.array([line.outcome for line in ordered], np.int8),
            entered=entered,
            reasons=pa.array([line.reason for line in ordered], pa.string()),
            scores=np.array([np.nan if x.score is None else x.score for x in ordered], np.float64),
            details=[line.detail for line in ordered],
            partners=_ids([line.partner for line in ordered]),
            parents=pa.array(
                [[bytes.fromhex(p) for p in x.parents] if x.parents else None for x in ordered],
                pa.list_(pa.binary(16)),
            ),
        )


def _ids(ids: Sequence[str | None]) -> pa.Array:
    return pa.array([None if i is None else bytes.fromhex(i) for i in ids], pa.binary(16))
