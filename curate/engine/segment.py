"""Run one part through one segment: the unit of work of every engine.

`run_segment` takes what it needs as arguments and gives tables or paths back, so that it runs in
the main thread, in a pool of threads, or in a spawned process without change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.engine.kinds.filter import apply_filter
from curate.engine.partition import Partition, describe_error
from curate.engine.plan import Segment
from curate.engine.state import Held, LedgerSlice, PartitionState, Settings, Workspace, total
from curate.step import Filter, Gather, Whole

if TYPE_CHECKING:
    from curate.requests.driver import Driver


def run_segment(
    segment: Segment,
    state: PartitionState,
    settings: Settings,
    *,
    driver: Driver | None = None,
    workspace: Workspace | None = None,
) -> PartitionState:
    """Return the part's state after `segment`; with a workspace, its tables lie in files."""
    part = settings.partition(state.rows)
    if state.decision is not None:
        state.decision.apply(part)
    for step in segment.steps:
        if isinstance(step, Filter):
            apply_filter(part, step, driver)
        else:
            from curate.engine.kinds.generate import apply_generate

            apply_generate(part, step, driver)
    sketches: pa.Table | None = None
    if isinstance(segment.cut, Whole):
        from curate.engine.kinds.sketch import sketch

        sketches = sketch(part, segment.cut, driver)
    elif isinstance(segment.cut, Gather):
        sketches = _keys(part, segment.cut)
    alive = part.split()
    spill: Callable[[pa.Table], Held] = (lambda t: t) if workspace is None else workspace.spill
    return PartitionState(
        number=state.number,
        rows=spill(alive),
        sketches=None if sketches is None else spill(sketches),
        gone=[*state.gone, *(spill(table) for table in part.gone)],
        ledger=[*state.ledger, *LedgerSlice.of(part.ledger)],
        tallies=total([state.tallies, part.tallies]),
    )


def _keys(part: Partition, step: Gather) -> pa.Table:
    """Return the group key of every row that the step sees; a row whose key fails ends here."""
    part.compact()
    keys: list[str] = []
    errors: dict[int, str] = {}
    for index in part.reached(step.only).tolist():
        try:
            key: Any = step.key(part.rows[index])
            if not isinstance(key, str):
                raise TypeError(f"a key must be text, not {type(key).__name__}")
            # Half of a surrogate pair is no text that rows could be grouped by.
            key.encode()
            keys.append(key)
        except Exception as error:  # one row's failure, whatever it is
            errors[index] = describe_error(error)
    part.fail(step.title, errors)
    return pa.table({"key": pa.array(keys, pa.string())})
