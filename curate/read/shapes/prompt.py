"""A prompt alone, as a text or as messages (TRL's prompt-only)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, sides_from, sides_of, with_extra
from curate.row import Record, Row

KIND = "prompt"
_ROLES = {"prompt": "user"}
_OTHERS = ("completion", "chosen", "rejected", "candidates", "response", "responses", "messages")
SIGNATURE = (("prompt",),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and no answer to it."""
    return isinstance(data.get("prompt"), str | list) and not any(n in data for n in _OTHERS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a prompt."""
    sides, marks = sides_of(data, _ROLES)
    return Record(KIND, sides, extra_of(data, ("prompt",), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the prompt with its extra columns."""
    return with_extra(sides_from(row, _ROLES), row)
