"""What the page of a run says over all its rows: how they ended, scores, lengths and sources."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.read.finished_runs import published_files
from curate.recipe.catalog import operators
from curate.runs.report import ENDINGS
from curate.runs.rows import Rows

if TYPE_CHECKING:
    import numpy as np

BARS = 40
# Up to this many different scores, each has a bar of its own.
_MOST_VALUES = 24
# What lies beyond these shares of the scores is counted in a bar at either end.
_TAILS = (0.005, 0.995)
# Steps of other families refuse a row for what it is, or because another row is like it.
_CHOOSING = "select"
# Bars that are named one by one below a chart.
_MOST_NAMED = 8
_STOPPED = ("dropped", "failed")
_LENGTHS = (0.1, 0.25, 0.5, 0.75, 0.9)


class Verdict(NamedTuple):
    """How many rows came in or were made, and how they ended."""

    read: int
    made: int
    kept: int
    used: int
    refused: int
    not_chosen: int
    failed: int


class ScoreChart(NamedTuple):
    """The scores of a step: bars from `edges[k]` to `edges[k + 1]` of rows that passed and not.

    `values` names the score of each bar where every score has its own. `below` and `above` count
    rows beyond the first and the last edge, of which `stopped_below` and `stopped_above` did not
    pass. `unit` is 1 where all scores are whole numbers, and every bar holds as many of them.
    """

    label: str
    rows: int
    edges: tuple[float, ...]
    passed: tuple[int, ...]
    stopped: tuple[int, ...]
    values: tuple[float, ...] = ()
    below: int = 0
    above: int = 0
    stopped_below: int = 0
    stopped_above: int = 0
    unit: int = 0


class Languages(NamedTuple):
    """The languages that a step has found: of each how many rows passed it, and how many not."""

    label: str
    languages: tuple[tuple[str, int, int], ...]


class Lengths(NamedTuple):
    """Words of the answers of one outcome: how many rows have one, and quantiles."""

    rows: int
    quantiles: tuple[int, ...]


def only_chooses(name: str) -> bool:
    """Tell whether a step drops rows that it does not choose, and not rows that are at fault."""
    known = operators()
    return name in known and known[name].family == _CHOOSING


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """Return how the rows ended; rows that a step only did not choose are told from refused ones.

    A row that a step rewrote counts once, as itself.
    """
    chosen = sum(step["dropped"] for step in summary["steps"] if only_chooses(step["name"]))
    rewritten = sum(step.get("rewritten", 0) for step in summary["steps"])
    return Verdict(
        summary["in"],
        summary["made"] - rewritten,
        summary["kept"],
        summary["used"] - rewritten,
        summary["dropped"] - chosen,
        chosen,
        summary["failed"],
    )


class LedgerScores(NamedTuple):
    """The scores that a step gave, in ledger order, and whether each row passed the step."""

    scores: np.ndarray
    passed: np.ndarray


def scored(run: Path, label: str) -> LedgerScores:
    """Return a step's scores from the ledger; rows without a finite one are left out."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    scores, passed = [np.empty(0)], [np.empty(0, np.bool_)]
    for path in published_files(run / "ledger" / label):
        table = pq.read_table(path, columns=["outcome", "score"])
        table = table.filter(pc.is_finite(table.column("score")))
        scores.append(table.column("score").to_numpy())
        # What a step made with a score, or used, was not stopped by it.
        ended = pc.is_in(table.column("outcome"), pa.array(_STOPPED))
        passed.append(pc.invert(ended).to_numpy(zero_copy_only=False))
    return LedgerScores(np.concatenate(scores), np.concatenate(passed))


def score_chart(
    label: str, found: LedgerScores, thresholds: Sequence[float] = ()
) -> ScoreChart | None:
    """Return the histogram of a step's scores, wide enough for thresholds that are near.

    `None` where there is nothing to see: no two scores differ, or they only say yes and no.
    """
    import numpy as np

    scores, passed = found
    values = np.unique(scores)
    if len(values) < 2 or (len(values) == 2 and not thresholds):
        return None
    unit, named = 0, ()
    if len(values) <= _MOST_VALUES:
        bounds, named = np.arange(len(values) + 1.0), tuple(values.tolist())
        steps = np.searchsorted(values, scores)
    else:
        low, high = (float(v) for v in np.quantile(scores, _TAILS, method="inverted_cdf"))
        if low == high:
            low, high = float(values[0]), float(values[-1])
        # A threshold far away would leave one bar of all the scores: it stands at the edge.
        room = 2 * (high - low)
        near = [t for t in thresholds if low - room <= t <= high + room]
        low, high = min(low, *near, high), max(high, *near, low)
        if (values == np.floor(values)).all():
            # As many numbers in every bar: else some have one more, and stick out like a comb.
            unit, low = 1, math.floor(low)
            width = math.ceil((math.floor(high) - low + 1) / BARS)
            bounds = low + width * np.arange(math.ceil((math.floor(high) - low + 1) / width) + 1.0)
        else:
            bounds = np.linspace(low, high, BARS + 1)
        # What is beyond the edges has numbers of its own.
        steps = np.searchsorted(bounds, scores, side="right") - 1
        if not unit:
            # The last bar holds its upper edge.
            steps = np.where(scores == high, BARS - 1, np.where(scores > high, BARS, steps))
    count = len(bounds) - 1
    below, above = steps < 0, steps >= count
    inside = ~(below | above)
    return ScoreChart(
        label,
        len(scores),
        tuple(bounds.tolist()),
        tuple(np.bincount(steps[inside & passed], minlength=count).tolist()),
        tuple(np.bincount(steps[inside & ~passed], minlength=count).tolist()),
        named,
        int(below.sum()),
        int(above.sum()),
        int((below & ~passed).sum()),
        int((above & ~passed).sum()),
        unit,
    )


def lengths(run: Path) -> dict[str, Lengths]:
    """Return, by outcome, how many words the answers have: what is between white space counts."""
    import numpy as np
    import pyarrow.compute as pc

    from curate.chunk import Chunk

    found = {}
    for outcome in ("kept", "dropped"):
        words = [np.empty(0, np.int64)]
        for table in Rows(run / outcome).tables():
            texts = Chunk(table).texts("response")
            counts = pc.count_substring_regex(texts, r"\S+")
            words.append(np.asarray(pc.fill_null(counts, 0), np.int64))
        every = np.concatenate(words)
        every = every[every > 0]
        if len(every):
            quantiles = np.quantile(every, _LENGTHS, method="inverted_cdf")
            found[outcome] = Lengths(len(every), tuple(quantiles.tolist()))
    return found


def languages(run: Path, label: str, wanted: Sequence[str]) -> Languages | None:
    """Return what a `language` step found, the most frequent first; `None` if it read no row.

    The ledger names the likeliest language where it is none of those that are `wanted`. A text
    without a letter has no language.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, list[int]] = {}
    for path in published_files(run / "ledger" / label):
        table = pq.read_table(path, columns=["outcome", "detail"])
        table = table.filter(pc.not_equal(table.column("outcome"), "failed"))
        stopped = pc.is_in(table.column("outcome"), pa.array(_STOPPED))
        grouped = table.append_column("stopped", stopped).group_by(["detail", "stopped"])
        for line in grouped.aggregate([([], "count_all")]).to_pylist():
            detail = json.loads(line["detail"] or "{}")
            name = detail.get("language", " or ".join(wanted))
            found.setdefault(name, [0, 0])[line["stopped"]] += line["count_all"]
    ordered = sorted(found.items(), key=lambda item: (-sum(item[1]), item[0]))
    return (
        Languages(label, tuple((name, own[0], own[1]) for name, own in ordered)) if found else None
    )


def sources(run: Path) -> dict[str, dict[str, int]]:
    """Return how many rows of each source ended in which way, the largest source first."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, dict[str, int]] = {}
    for outcome in ENDINGS:
        for path in published_files(run / outcome):
            file = pq.ParquetFile(path)
            if "source" not in file.schema_arrow.names:
                continue
            for each in pc.value_counts(file.read(columns=["source"]).column("source")).to_pylist():
                own = found.setdefault(each["values"] or "", dict.fromkeys(ENDINGS, 0))
                own[outcome] += each["counts"]
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def place_of(chart: ScoreChart, value: float, *, after: bool = False) -> float:
    """Return where a threshold lies on a chart: 0 at its left edge, 1 at its right.

    A whole score has a bar, of which the threshold stands on the left, or with `after` on the
    right: what passes and what does not are on different sides of it.
    """
    if chart.values:
        below = sum(v <= value if after else v < value for v in chart.values)
        return min(1.0, max(0.0, below / len(chart.values)))
    low, high = chart.edges[0], chart.edges[-1]
    edge = value + chart.unit * after
    return min(1.0, max(0.0, (edge - low) / (high - low))) if math.isfinite(value) else 0.0


def bar_name(chart: ScoreChart, bar: int) -> str:
    """Return the scores that a bar counts, in words."""
    if chart.values:
        return f"{chart.values[bar]:.6g}"
    low, high = chart.edges[bar], chart.edges[bar + 1] - chart.unit
    return f"{low:.6g}" if low == high else f"{low:.4g} to {high:.4g}"


def axis_of(chart: ScoreChart) -> tuple[float, ...]:
    """Return the scores to write below a chart: each bar's where they are few, else both ends."""
    if chart.values:
        return (
            chart.values
            if len(chart.values) < _MOST_NAMED
            else chart.values[:: len(chart.values) - 1]
        )
    return (chart.edges[0], chart.edges[-1] - chart.unit)
