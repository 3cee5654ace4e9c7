"""Let a `Whole` decide: on the sketches of all parts, or on the parts as they come."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.chunk import ORIGIN, one_array
from curate.engine.kinds.sketch import with_matrices
from curate.engine.ledger import StepTally, dumps
from curate.engine.partition import (
    check_detail,
    check_figures,
    check_reason,
    could_not,
    picked,
)
from curate.engine.state import Held, PartitionState, WholeDecision, load, release
from curate.kernels.arrays.growable import GrowableArray
from curate.step import Decider, Step, Verdicts, Whole
from curate.store.files import DerivedArrays

if TYPE_CHECKING:
    from curate.store.store import Store


def decide(
    step: Whole,
    states: Sequence[PartitionState],
    others: Sequence[Held] = (),
    store: Store | None = None,
) -> None:
    """Set every part's decision to the verdicts of `step`.

    `others` are the sketches of the rows that it compares with; `store` has the vectors of a step
    that embeds, and keeps what it derives from them.
    """
    held = [state.sketches for state in states if state.sketches is not None]
    remarks, sketches = _together(step, held, others, store)
    count = sketches.num_rows - sum(load(one).num_rows for one in others)
    try:
        verdicts = None
        if any(isinstance(one, Path) for one in (*held, *others)) and not step.embeds():
            # A file that is mapped part by part leaves memory with its part.
            parts, theirs = ([partial(load, one) for one in some] for some in (held, others))
            verdicts = step.decide_by_part(parts, theirs)
        if verdicts is None:
            positions = np.arange(count, dtype=np.int64)
            if store is None:
                verdicts = step.decide(positions, sketches)
            else:
                verdicts = step.decide_with(positions, sketches, DerivedArrays(store.folder))
        _check(verdicts, count, _Seen())
    except Exception as error:
        raise could_not(step, "decide", error) from error
    del sketches
    for one in others:
        release(one)
    seen = [_seen_rows(step, state) for state in states]
    ids = [ids for _, ids in seen]
    partners = _partner_ids(verdicts, pa.chunked_array(ids, pa.binary(16)))
    start = 0
    if states:
        tally = states[0].tallies.setdefault(step.title, StepTally())
        tally.remarks += (*remarks, *verdicts.remarks)
        tally.figures.update(verdicts.figures)
    for state, (reached, _) in zip(states, seen, strict=True):
        state.decision = _slice(step, verdicts, partners, start, reached)
        start += len(reached)
        release(state.sketches)
        state.sketches = None


def _together(
    step: Whole, held: Sequence[Held], others: Sequence[Held], store: Store | None
) -> tuple[tuple[str, ...], pa.Table]:
    """Return remarks, and one table of a step's sketches and behind them those of `others`."""
    sketches, theirs = pa.concat_tables(map(load, held)), None
    if others:
        theirs = pa.concat_tables(map(load, others))
        sketches = sketches.append_column(ORIGIN, pa.nulls(sketches.num_rows, pa.string()))
    if store is not None and step.embeds():
        return with_matrices(step, sketches, theirs, store.vectors)
    return (), sketches if theirs is None else pa.concat_tables([sketches, theirs])


def decide_as_they_come(
    step: Step, decider: Decider, states: Iterable[PartitionState]
) -> Iterator[PartitionState]:
    """Set each passing part's decision to the verdicts of `decider`, the one of `step`."""
    seen = _Seen()
    for state in states:
        began = time.perf_counter()
        assert state.sketches is not None
        try:
            verdicts = decider.decide(load(state.sketches))
            _check(verdicts, load(state.sketches).num_rows, seen)
        except Exception as error:
            raise could_not(step, "decide", error) from error
        reached, ids = _seen_rows(step, state)
        seen.add(ids, np.asarray(verdicts.code) < 0)
        state.decision = _slice(step, verdicts, _partner_ids(verdicts, seen.ids), 0, reached)
        release(state.sketches)
        state.sketches = None
        tally = state.tallies.setdefault(step.title, StepTally())
        tally.worked(began)
        tally.figures.update(verdicts.figures)
        yield state


def _seen_rows(step: Step, state: PartitionState) -> tuple[np.ndarray, pa.Array]:
    """Return the indexes of a part's rows that the step sees, and their ids."""
    table = load(state.rows)
    reached = np.flatnonzero(picked(table, step.only))
    ids = one_array(table.column("id"))
    return reached, ids if len(reached) == len(ids) else ids.take(pa.array(reached))


class _Seen:
    """The ids of the rows that a step decided on before, and whether it kept them."""

    def __init__(self) -> None:
        self._ids, self._kept = GrowableArray("V16"), GrowableArray(np.bool_)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> pa.FixedSizeBinaryArray:
        """The ids as an array that holds until more come."""
        data = pa.py_buffer(self._ids.values)
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(self._ids), [None, data])

    @property
    def kept(self) -> np.ndarray:
        """A mask of those that were kept."""
        return self._kept.values

    def add(self, ids: pa.FixedSizeBinaryArray, kept: np.ndarray) -> None:
        """Take the next rows."""
        values = np.frombuffer(ids.buffers()[1], "V16") if len(ids) else np.empty(0, "V16")
        self._ids.extend(values[ids.offset : ids.offset + len(ids)])
        self._kept.extend(kept)


def _check(verdicts: Verdicts, count: int, before: _Seen) -> None:
    """Raise `ValueError` when verdicts do not fit the `count` rows they speak of."""
    code = np.asarray(verdicts.code)
    if count and code.dtype.kind not in "iu":
        raise ValueError(f"code must hold whole numbers, found {code.dtype}")
    for reason in verdicts.reasons:
        check_reason(reason)
    if verdicts.score is not None:
        verdicts.score = np.asarray(verdicts.score, np.float64)
    check_figures(verdicts.figures)
    for detail in itertools.chain(verdicts.details or (), verdicts.notes or ()):
        check_detail(detail)
    for name in ("code", "score", "partner", "repeats", "details", "notes"):
        value = getattr(verdicts, name)
        if value is not None and len(value) != count:
            raise ValueError(f"{name} has {len(value)} entries for {count} rows")
    if count and (code.min() < -1 or code.max() >= len(verdicts.reasons)):
        raise ValueError(f"code must lie between -1 and {len(verdicts.reasons) - 1}")
    if count and verdicts.repeats is not None:
        repeats = np.asarray(verdicts.repeats)
        if repeats.dtype.kind not in "iu" or repeats.min() < 1:
            raise ValueError("repeats must hold whole numbers of at least 1")
    if verdicts.partner is not None:
        partner = np.asarray(verdicts.partner)
        earlier = partner[(partner >= 0) & (partner < len(before))]
        named = partner[partner >= len(before)] - len(before)
        unkept = (named >= count).any() or (code[named] >= 0).any()
        if unkept or not before.kept[earlier].all():
            raise ValueError("a partner must be a row that the step itself keeps")


def _partner_ids(verdicts: Verdicts, ids: pa.Array | pa.ChunkedArray) -> pa.Array | None:
    if verdicts.partner is None:
        return None
    partner = np.asarray(verdicts.partner, np.int64)
    return one_array(ids.take(pa.array(partner, mask=partner < 0)))


def _slice(
    step: Step, verdicts: Verdicts, partners: pa.Array | None, start: int, reached: np.ndarray
) -> WholeDecision:
    """Return the verdicts on the rows of one part."""
    score, end = verdicts.score, start + len(reached)
    details = (
        {}
        if verdicts.details is None
        else {
            i: text
            for i, d in enumerate(verdicts.details[start:end])
            if (text := dumps(d)) is not None
        }
    )
    return WholeDecision(
        label=step.title,
        reached=reached,
        codes=np.asarray(verdicts.code[start:end], np.int32),
        reasons=tuple(verdicts.reasons),
        values=np.full(end - start, math.nan)
        if score is None
        else np.asarray(score[start:end], np.float64),
        partners=None if partners is None else partners.slice(start, end - start),
        repeats=None if verdicts.repeats is None else np.asarray(verdicts.repeats[start:end]),
        details=details,
        notes=None if verdicts.notes is None else list(verdicts.notes[start:end]),
    )
