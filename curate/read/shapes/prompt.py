"""A prompt alone, as a text or as messages (TRL's prompt-only)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import extra_of, plain_side, side_of, with_extra
from curate.row import Record, Row

KIND = "prompt"
_OTHERS = ("completion", "chosen", "rejected", "candidates", "response", "responses", "messages")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and no answer to it."""
    return isinstance(data.get("prompt"), str | list) and not any(n in data for n in _OTHERS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a prompt."""
    return Record(KIND, {"prompt": side_of(data, "prompt", "user")}, extra_of(data, ("prompt",)))


def from_row(row: Row) -> dict[str, Any]:
    """Return the prompt with its extra columns."""
    return with_extra({"prompt": plain_side(row.prompt, "user")}, row)
