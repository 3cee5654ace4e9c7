"""Decide a `Whole` on the sketches of all parts, and hand each part its verdicts."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curate.chunk import ORIGIN, one_array
from curate.engine.embedding import matrices
from curate.engine.ledger import Tally, dumps
from curate.engine.part import check_detail, check_reason, describe_error
from curate.engine.segment import PartState, WholeLead
from curate.engine.workspace import load, release
from curate.errors import StoppedShort
from curate.step import Step, Verdicts, Whole


def decide(step: Whole, states: Sequence[PartState], others: pa.Table | None = None) -> float:
    """Set every part's lead to the verdicts of `step`; return the seconds it took.

    `others` are the sketches of the rows that it compares with.
    """
    began = time.perf_counter()
    sketches = pa.concat_tables(
        [load(state.sketches) for state in states if state.sketches is not None]
    )
    positions = np.arange(sketches.num_rows, dtype=np.int64)
    if others is not None:
        nowhere = pa.nulls(sketches.num_rows, pa.string())
        sketches = pa.concat_tables([sketches.append_column(ORIGIN, nowhere), others])
    if step.embeds():
        sketches = matrices(step, sketches)
    try:
        verdicts = step.decide(positions, sketches)
        _check(verdicts, len(positions))
    except Exception as error:
        raise could_not(step, "decide", error) from error
    del sketches
    ids = [one_array(load(state.rows).column("id")) for state in states]
    partners = _partner_ids(verdicts, ids)
    start = 0
    if states:
        states[0].tallies.setdefault(step.title, Tally()).remarks += verdicts.remarks
    for state, own in zip(states, ids, strict=True):
        state.lead = _slice(step, verdicts, partners, start, start + len(own))
        start += len(own)
        release(state.sketches)
        state.sketches = None
    return time.perf_counter() - began


def could_not(step: Step, what: str, error: Exception) -> StoppedShort:
    """Return the error of a run in which a step that sees all rows failed at `what`."""
    return StoppedShort(
        f"step '{step.title}' could not {what} ({describe_error(error)}); nothing was published, "
        "and every reply is kept: mend the step or its input and run again"
    )


def _check(verdicts: Verdicts, count: int) -> None:
    """Raise `ValueError` when verdicts do not fit the rows they speak of."""
    code = np.asarray(verdicts.code)
    if count and code.dtype.kind not in "iu":
        raise ValueError(f"code must hold whole numbers, found {code.dtype}")
    for reason in verdicts.reasons:
        check_reason(reason)
    if verdicts.score is not None:
        verdicts.score = np.asarray(verdicts.score, np.float64)
    for detail in itertools.chain(verdicts.details or (), verdicts.notes or ()):
        check_detail(detail)
    for name in ("code", "score", "partner", "details", "notes"):
        value = getattr(verdicts, name)
        if value is not None and len(value) != count:
            raise ValueError(f"{name} has {len(value)} entries for {count} rows")
    if count and (code.min() < -1 or code.max() >= len(verdicts.reasons)):
        raise ValueError(f"code must lie between -1 and {len(verdicts.reasons) - 1}")
    if verdicts.partner is not None:
        partner = np.asarray(verdicts.partner)
        named = partner[partner >= 0]
        if (named >= count).any() or (code[named] >= 0).any():
            raise ValueError("a partner must be a row that the step itself keeps")


def _partner_ids(verdicts: Verdicts, ids: Sequence[pa.Array]) -> pa.Array | None:
    if verdicts.partner is None:
        return None
    partner = np.asarray(verdicts.partner, np.int64)
    every = pa.chunked_array(ids, pa.binary(16))
    return one_array(every.take(pa.array(partner, mask=partner < 0)))


def _slice(
    step: Whole, verdicts: Verdicts, partners: pa.Array | None, start: int, end: int
) -> WholeLead:
    """Return the verdicts on one part."""
    score = verdicts.score
    details = (
        {}
        if verdicts.details is None
        else {
            i: text
            for i, d in enumerate(verdicts.details[start:end])
            if (text := dumps(d)) is not None
        }
    )
    return WholeLead(
        label=step.title,
        codes=np.asarray(verdicts.code[start:end], np.int32),
        reasons=tuple(verdicts.reasons),
        values=np.full(end - start, math.nan)
        if score is None
        else np.asarray(score[start:end], np.float64),
        partners=None if partners is None else partners.slice(start, end - start),
        details=details,
        notes=None if verdicts.notes is None else list(verdicts.notes[start:end]),
    )
