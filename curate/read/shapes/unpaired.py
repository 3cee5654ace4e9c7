"""A prompt, a completion and whether it is wanted: TRL's unpaired preference (KTO)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import (
    extra_columns,
    extra_of,
    kind_of,
    plain_side,
    side_of,
    turns_of,
)
from curate.row import Record, Row

KIND = "unpaired"
_COLUMNS = ("prompt", "completion", "label")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has prompt, completion and a true or false label."""
    return "prompt" in data and "completion" in data and isinstance(data.get("label"), bool)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as an unpaired preference."""
    if not isinstance(data.get("label"), bool):
        raise ValueError(
            f"column 'label' must be true or false, found {kind_of(data.get('label'))}"
        )
    fields = {
        "prompt": side_of(data, "prompt", "user"),
        "completion": side_of(data, "completion", "assistant"),
        "label": data["label"],
    }
    return Record(KIND, fields, extra_of(data, _COLUMNS))


def from_row(row: Row) -> dict[str, Any]:
    """Return prompt, completion and label; both sides as texts, or both as messages."""
    prompt, completion = plain_side(row.prompt, "user"), plain_side(row.completion, "assistant")
    if isinstance(prompt, str) != isinstance(completion, str):
        prompt, completion = turns_of(row.prompt), turns_of(row.completion)
    out = {"prompt": prompt, "completion": completion, "label": row.fields["label"]}
    return out | {k: v for k, v in extra_columns(row).items() if k not in out}
