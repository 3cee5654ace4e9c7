"""Ledger lines written one by one, for steps that touch few rows or make new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.engine.ledger import SCHEMA, dumps, lines
from curate.row import Row


class _Line(NamedTuple):
    row: Row
    outcome: int
    reason: str | None
    score: float | None
    detail: str | None
    partner: str | None
    parents: Sequence[str] | None


class LedgerBuilder:
    """Collect a step's ledger lines and hand them over in the order of rows."""

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
        """Write one line about `row`."""
        self._lines.append(_Line(row, outcome, reason, score, dumps(detail), partner, parents))

    def table(self) -> pa.Table:
        """Return the lines, sorted by `seq`; lines of one row keep the order of writing."""
        if not self._lines:
            return SCHEMA.empty_table()
        ordered = sorted(self._lines, key=lambda line: line.row.seq)
        return lines(
            self.label,
            _ids([line.row.id for line in ordered]),
            np.array([line.outcome for line in ordered], np.int8),
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
