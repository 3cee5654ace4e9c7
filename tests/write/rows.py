"""Rows of every kind, as tables, for the tests of writers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.chunk import table_of
from curate.row import Candidate, Message, Row

USER = (Message("user", "What is 2 + 2?"),)
GOOD = (Message("assistant", "4"),)
BAD = (Message("assistant", "5"),)
FIELDS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": USER},
    "sft": {"messages": (Message("system", "Be brief."), *USER, *GOOD)},
    "preference": {
        "prompt": USER,
        "chosen": GOOD,
        "rejected": BAD,
        "margin": None,
        "p_chosen": None,
    },
    "ranked": {"prompt": USER, "candidates": (Candidate(GOOD, 1.0, "a"), Candidate(BAD, 0.0))},
    "unpaired": {"prompt": USER, "completion": GOOD, "label": True},
}


def row(kind: str, number: int = 0, extra: str | None = '{"id":"x"}', **fields: Any) -> Row:
    return Row(f"{number:032x}", (0, 0, number), kind, FIELDS[kind] | fields, "input", extra)


def table(*rows: Row) -> pa.Table:
    return table_of(rows)


def identified(read: pa.Table) -> pa.Table:
    """Return rows as they were read with ids and an order."""
    count = read.num_rows
    ids = pa.array([b"%016d" % n for n in range(count)], pa.binary(16))
    whole = read.append_column("id", ids)
    return whole.append_column("seq", pa.array([[0, 0, n] for n in range(count)]))
