"""A prompt with scored answers: `candidates`, each with messages, score and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import (
    extra_of,
    kind_of,
    number_of,
    side_of,
    sides_from,
    sides_of,
    turns_of,
    with_extra,
)
from curate.row import Candidate, Record, Row

KIND = "ranked"
_ROLES = {"prompt": "user"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a list of candidates."""
    return "prompt" in data and isinstance(data.get("candidates"), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as ranked answers."""
    given = data.get("candidates")
    if not isinstance(given, list) or not given:
        raise ValueError(f"column 'candidates' must be a list of answers, found {kind_of(given)}")
    candidates = tuple(_candidate(entry, index) for index, entry in enumerate(given))
    sides, marks = sides_of(data, _ROLES)
    fields = {**sides, "candidates": candidates}
    return Record(KIND, fields, extra_of(data, ("prompt", "candidates"), **marks))


def _candidate(entry: Any, index: int) -> Candidate:
    if not isinstance(entry, Mapping):
        raise ValueError(f"candidates[{index}] must be an object, found {kind_of(entry)}")
    model = entry.get("model")
    if model is not None and not isinstance(model, str):
        raise ValueError(f"candidates[{index}].model must be a text, found {kind_of(model)}")
    return Candidate(side_of(entry, "messages", "assistant"), number_of(entry, "score"), model)


def from_row(row: Row) -> dict[str, Any]:
    """Return prompt and candidates with the extra columns."""
    candidates = [
        {"messages": turns_of(c.messages), "score": c.score, "model": c.model}
        for c in row.candidates
    ]
    return with_extra({**sides_from(row, _ROLES), "candidates": candidates}, row)
