"""A prompt, a completion and whether it is wanted: TRL's unpaired preference (KTO).

A label may be written as 1 or 0, too; it comes back as true or false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, kind_of, sides_from, sides_of, with_extra
from curate.row import Record, Row

KIND = "unpaired"
# Python takes True for 1, too.
_LABELS = (0, 1)
_ROLES = {"prompt": "user", "completion": "assistant"}
SIGNATURE = ((*_ROLES, "label"),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has prompt, completion and a true or false label."""
    return "prompt" in data and "completion" in data and is_label(data.get("label"))


def is_label(value: Any) -> bool:
    """Tell whether a value says if a completion is wanted."""
    return isinstance(value, int) and value in _LABELS


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as an unpaired preference."""
    label = data.get("label")
    if not is_label(label):
        raise ValueError(f"column 'label' must be true or false, found {kind_of(label)}")
    sides, marks = sides_of(data, _ROLES)
    extra = extra_of(data, (*_ROLES, "label"), **marks)
    return Record(KIND, {**sides, "label": bool(label)}, extra)


def from_row(row: Row) -> dict[str, Any]:
    """Return prompt, completion and label; both sides as texts, or both as messages."""
    return with_extra({**sides_from(row, _ROLES), "label": row.fields["label"]}, row)
