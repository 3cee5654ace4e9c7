"""A prompt with scored answers: `candidates`, each with messages, score and model.

What else a candidate says of itself stays in its own `extra`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    dumps,
    extra_of,
    kind_of,
    number_of,
    side_of,
    sides_from,
    sides_of,
    turns_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Record, Row

_ROLES = {"prompt": "user"}
_LIST, _KEYS = "candidates", ("messages", "score", "model")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a list of candidates."""
    return "prompt" in data and isinstance(data.get("candidates"), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as ranked answers."""
    given = data.get("candidates")
    if not isinstance(given, list) or not given:
        raise ValueError(f"column 'candidates' must be a list of answers, found {kind_of(given)}")
    candidates = []
    for index, entry in enumerate(given):
        if not isinstance(entry, Mapping):
            raise ValueError(f"candidates[{index}] must be an object, found {kind_of(entry)}")
        model = entry.get("model")
        if model is not None and not isinstance(model, str):
            raise ValueError(f"candidates[{index}].model must be a string, found {kind_of(model)}")
        turns, score = side_of(entry, "messages", "assistant"), number_of(entry, "score")
        rest = {key: value for key, value in entry.items() if key not in _KEYS}
        candidates.append(Candidate(turns, score, model, dumps(rest) if rest else None))
    sides, marks = sides_of(data, _ROLES)
    fields = {**sides, _LIST: tuple(candidates)}
    return Record("ranked", fields, extra_of(data, ("prompt", _LIST), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return prompt and candidates with the extra columns."""
    out = with_extra(sides_from(row, _ROLES), row)
    # What an earlier version kept of each candidate in the row's `extra`.
    count, beside = len(row.candidates), out.pop(_LIST, None)
    if beside is None:
        beside = [{} for _ in range(count)]
    if not isinstance(beside, list) or not all(isinstance(entry, dict) for entry in beside):
        raise ValueError(f"its extra column '{_LIST}' would be lost: the shape has one as well")
    if len(beside) != count:
        raise ValueError(f"{len(beside)} candidates were read, and {count} are left")
    candidates = [
        {"messages": turns_of(c.messages), "score": c.score, "model": c.model, **more, **own(c)}
        for c, more in zip(row.candidates, beside, strict=True)
    ]
    return {"prompt": out.pop("prompt"), _LIST: candidates, **out}


def own(candidate: Candidate) -> dict[str, Any]:
    """Return what a candidate says of itself besides its messages, score and model."""
    found: dict[str, Any] = json.loads(candidate.extra) if candidate.extra else {}
    return {key: value for key, value in found.items() if key not in _KEYS}


SHAPES = (
    Shape("ranked", "ranked", __doc__ or "", (("prompt", _LIST),), detect, to_record, from_row),
)
