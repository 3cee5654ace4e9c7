"""A prompt, a completion and whether it is wanted: TRL's unpaired preference (KTO)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import extra_of, kind_of, sides_from, sides_of, with_extra
from curate.row import Record, Row

KIND = "unpaired"
_ROLES = {"prompt": "user", "completion": "assistant"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has prompt, completion and a true or false label."""
    return "prompt" in data and "completion" in data and isinstance(data.get("label"), bool)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as an unpaired preference."""
    label = data.get("label")
    if not isinstance(label, bool):
        raise ValueError(f"column 'label' must be true or false, found {kind_of(label)}")
    sides, marks = sides_of(data, _ROLES)
    return Record(KIND, {**sides, "label": label}, extra_of(data, (*_ROLES, "label"), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return prompt, completion and label; both sides as texts, or both as messages."""
    return with_extra({**sides_from(row, _ROLES), "label": row.fields["label"]}, row)
