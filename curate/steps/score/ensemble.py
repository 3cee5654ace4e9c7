"""Combine the scores of several judges, and show how far they agree."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Ensemble(Whole):
    """Combine the scores that earlier steps gave a row, and report how well they agree.

    `of` lists these steps by their labels. `scale` makes their scores comparable: `rank` (from 0
    for the lowest of all rows to 1, with ties in the middle), `standard` (minus the mean, divided
    by the standard deviation) or `none` (unchanged). `lowest` lists those of them for which lower
    is better. `combine` selects the row's score: the `mean`, `median`, `min` or `max`; the ledger
    records each judge's part and their spread. The report has the rank correlation (Spearman) of
    every two judges over the rows that both scored, and warns of a judge that gives nine rows in
    ten the same score. A row that one of them did not score has no score, and is dropped if there
    is a threshold. Rows that score below `at_least`, in the units of `scale`, are dropped.
    """

    of: tuple[str, ...] = ()
    scale: Literal["rank", "standard", "none"] = rule("rank")
    combine: Literal["mean", "median", "min", "max"] = rule("mean")
    lowest: tuple[str, ...] = rule(())
    at_least: float | None = rule(None)

    source: ClassVar[str] = (
        "common; e.g. Verga et al. 2024 (PoLL), arXiv 2404.18796; Spearman 1904, doi "
        "10.2307/1412159"
    )
    judges: ClassVar[bool] = True

    def check(self) -> None:
        """Reject no judges, one that is named twice, and unknown ones."""
        if not self.of or len(set(self.of)) < len(self.of):
            raise ValueError(f"of is {list(self.of)}; it must name scoring steps, each once")
        if unknown := [name for name in self.lowest if name not in self.of]:
            raise ValueError(f"lowest names {unknown}, which of does not")

    def reads_scores(self) -> tuple[str, ...]:
        """Return the labels of the judges."""
        return self.of

    def sketch_types(self) -> dict[str, str]:
        """Keep a score per judge."""
        return {f"score {n}": "float64" for n in range(len(self.of))}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the scores that the labels name."""
        return {f"score {n}": row.scores.get(label) for n, label in enumerate(self.of)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Combine the scores, and compare the judges."""
        import numpy as np

        from curate.kernels.arrays.agreement import collapse_of, midranks, spearman

        raw = {
            label: np.array(sketches.column(n).to_pylist(), np.float64)
            for n, label in enumerate(self.of)
        }
        figures: dict[str, float] = {}
        remarks = []
        for one, other in itertools.combinations(self.of, 2):
            figures[f"agreement, {one} and {other}"] = rho = spearman(raw[one], raw[other])
            told = f"{rho:.3f}" if math.isfinite(rho) else "unknown: one of them does not vary"
            remarks.append(f"rank correlation of {one} and {other}: {told}")
        for label, values in raw.items():
            known = values[~np.isnan(values)]
            if found := collapse_of(known, fewest=2):
                most = found.rows / found.scored
                remarks.append(f"{label} gives {most:.0%} of the rows one score: it hardly judges")
        parts = []
        for label, values in raw.items():
            signed = -values if label in self.lowest else values
            if self.scale == "rank":
                signed = midranks(signed)
            elif self.scale == "standard" and np.count_nonzero(~np.isnan(signed)):
                spread = float(np.nanstd(signed))
                signed = (signed - np.nanmean(signed)) / (spread or 1.0)
            parts.append(signed)
        table = np.stack(parts) if parts else np.empty((0, len(positions)))
        score: np.ndarray = getattr(np, self.combine)(table, axis=0)
        spread = table.std(axis=0)
        code = np.full(len(positions), -1, np.int64)
        if self.at_least is not None:
            code[score < self.at_least] = 0
            code[np.isnan(score)] = 1
        details = [
            {
                **{label: _finite(parts[n][row]) for n, label in enumerate(self.of)},
                "spread": _finite(spread[row]),
            }
            for row in range(len(positions))
        ]
        return Verdicts(
            code,
            (f"combined score below {self.at_least or 0:g}", "a judge gave it no score"),
            score=score,
            details=details,
            remarks=tuple(remarks),
            figures={name: value for name, value in figures.items() if math.isfinite(value)},
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
