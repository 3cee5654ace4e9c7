"""Apply a filter to a part: score the rows, then let the rule decide once per distinct score."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.chunk import Chunk
from curate.engine.kinds.call import call_each, evidence, row_salts
from curate.engine.ledger import dumps
from curate.engine.partition import Partition, check_detail, check_reason, describe_error
from curate.step import Filter, Scored

if TYPE_CHECKING:
    from curate.requests.driver import Driver


def apply_filter(part: Partition, step: Filter, driver: Driver | None) -> None:
    """Score the rows that are still in, then let the step's rule decide."""
    began = time.perf_counter()
    reached = part.reached(step.only)
    scored = _score_chunks(part, step, reached) if part.large else None
    values, details, errors = scored or _score_rows(part, step, reached, driver)
    codes, reasons = _decide(step, values, errors)
    part.carry_out(
        step.title,
        reached,
        values=values,
        codes=codes,
        reasons=reasons,
        errors=errors,
        details=details,
    )
    part.tally(step.title).worked(began)


def _score_chunks(
    part: Partition, step: Filter, reached: np.ndarray
) -> tuple[np.ndarray, dict[int, str], dict[int, str]] | None:
    """Score whole chunks, the rows that ended included: cutting them out would cost more.

    Rows that the step's `only` leaves out may be of kinds that it cannot read: they are cut out.
    """
    seen, where = part, reached
    if step.only:
        seen, where = part.selected(reached), np.arange(len(reached))
    details: list[Sequence[Mapping[str, Any] | None]] = []

    def scored(chunk: Chunk) -> np.ndarray | None:
        scores = step.score_many(chunk)
        if scores is None:
            return None
        details.append(scores.details or ())
        return np.asarray(scores.values, np.float64)

    values = seen.by_chunk(scored)
    if values is None:
        return None
    place = np.full(seen.table.num_rows, -1)
    place[where] = np.arange(len(where))
    noted, start = {}, 0
    for own, scores in zip(details, values, strict=True):
        for offset, detail in enumerate(own):
            if detail is not None and place[start + offset] >= 0:
                noted[int(place[start + offset])] = dumps(detail) or ""
        start += len(scores)
    return (np.concatenate(values)[where] if values else np.zeros(0)), noted, {}


def _score_rows(
    part: Partition, step: Filter, reached: np.ndarray, driver: Driver | None
) -> tuple[np.ndarray, dict[int, str], dict[int, str]]:
    rows = [part.rows[i] for i in reached.tolist()]
    results = call_each(step, step.score, rows, row_salts(rows, step), driver)
    values = np.full(len(rows), np.nan)
    details, errors = dict[int, str](), dict[int, str]()
    for index, value in enumerate(results.values):
        error = results.errors.get(index)
        detail: Mapping[str, Any] | None = None
        if error is None:
            try:
                score, detail = value if isinstance(value, Scored) else (value, None)
                check_detail(detail)
                if not isinstance(score, int | float | np.number | np.bool_ | None):
                    found = type(score).__name__
                    raise TypeError(f"a score must be a number or None, not {found}")
                if score is not None:
                    if math.isnan(score):
                        raise ValueError(
                            "a score must be a number, and NaN is not one; return None for no score"
                        )
                    values[index] = float(score)
            except (TypeError, ValueError, OverflowError) as wrong:
                error, detail = describe_error(wrong), None
        if error is not None:
            errors[index] = error
        detail = evidence(detail, results.asked.get(index))
        if detail is not None:
            details[index] = dumps(detail) or ""
    return values, details, errors


def _decide(
    step: Filter, values: np.ndarray, errors: dict[int, str]
) -> tuple[np.ndarray, list[str]]:
    """Ask the rule once per distinct score; where it raises, the rows with that score fail."""
    codes = np.full(len(values), -1, np.int32)
    candidates = np.arange(len(values))
    if errors:
        candidates = np.delete(candidates, np.fromiter(errors, np.int64, len(errors)))
    distinct, inverse = np.unique(values[candidates], return_inverse=True)
    reasons: dict[str, int] = {}
    verdicts = np.full(len(distinct), -1, np.int32)
    for number, score in enumerate(distinct.tolist()):
        try:
            reason = step.keep(None if math.isnan(score) else score)
            if reason is not None:
                check_reason(reason)
        except Exception as error:  # whatever it is
            for index in candidates[inverse == number].tolist():
                errors[index] = describe_error(error)
            continue
        if reason is not None:
            verdicts[number] = reasons.setdefault(reason, len(reasons))
    codes[candidates] = verdicts[inverse]
    return codes, list(reasons)
