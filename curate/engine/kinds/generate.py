"""Apply a `Generate` to a part: its rows become used, dropped or failed, and new ones join."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from curate.engine.kinds.call import Results, call_each, evidence, row_salts
from curate.engine.kinds.made import Making, children, made_items, refusal, unusable_replies
from curate.engine.ledger import DROPPED, FAILED, PASSED, USED
from curate.engine.partition import Partition, describe_error
from curate.row import Row
from curate.step import Figures, Generate, Product

if TYPE_CHECKING:
    from curate.requests.driver import Driver

MADE_NOTHING = "made nothing"


def apply_generate(part: Partition, step: Generate, driver: Driver | None) -> None:
    """Let the step make rows of those that are still in; the part goes on with what results."""
    began = time.perf_counter()
    part.compact()
    where = part.reached(step.only)
    seen = part.selected(where)
    chunks = seen.by_chunk(step.make_many) if part.large else None
    if chunks is None:
        salts = row_salts(seen.rows, step)
        results = call_each(step, step.make, seen.rows, salts, driver, unusable_replies)
    else:
        results = Results([made for chunk in chunks for made in chunk])
    making = Making(step.title, part.table.num_rows)
    for index, value in enumerate(results.values):
        error, asked = results.errors.get(index), results.asked.get(index, ())
        # Most rows simply pass: the step gave back the very row, or a whole chunk's without change.
        passes = not value if chunks is not None else value is seen.rows[index]
        if error is None and not asked and passes:
            continue
        row, place, items = seen.rows[index], int(where[index]), list[Product]()
        if error is None:
            try:
                items = made_items(value, step, [row])
            except (TypeError, ValueError) as wrong:
                error = describe_error(wrong)
        told = [item for item in items if isinstance(item, Figures)]
        for one in told:
            part.tally(step.title).row_figures.note(one.values)
        passed = next((one.detail for one in told if one.detail is not None), None)
        items = [item for item in items if not isinstance(item, Figures)]
        drop = refusal(items)
        if error is not None:
            making.end(place, row, FAILED, error, detail=evidence(None, asked))
        elif drop is not None:
            detail = evidence(drop.detail, asked)
            making.end(place, row, DROPPED, drop.reason, drop.score, detail, drop.partner)
        elif step.keep_parent or any(isinstance(i, Row) and i.id == row.id for i in items):
            making.end(place, row, PASSED, detail=evidence(passed, asked))
        elif items:
            making.end(place, row, USED, detail=evidence(None, asked))
        else:
            making.end(place, row, DROPPED, MADE_NOTHING, detail=evidence(None, asked))
        before = len(making.rows)
        for number, item in enumerate(new := children(items)):
            making.make(item, [row], (number,))
        # A rewrite is a `Generate` of one: the made row stands in for the used one, turn by turn.
        if making.outcome[place] == USED and len(new) == 1:
            making.rewritten += [_form(made) for made in making.rows[before:]] == [_form(row)]
    making.decision().apply(part)
    part.tally(step.title).worked(began)


def _form(row: Row) -> tuple[str, list[int]]:
    """Return what a rewrite leaves as it is: the kind, and how many turns each field has."""
    return row.kind, [len(v) for v in row.fields.values() if isinstance(v, tuple)]
