"""Argilla's records, as its `records.from_json` reads them: export to `.json`, one array.

Conversations are chat fields; extra columns that are texts, numbers or lists of texts become
metadata, the rest JSON text there. Scores of ranked answers stand in the metadata too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.read.shapes.record_fields import dumps, extra_columns
from curate.row import KINDS, Message, Row
from curate.write.formats import Format, chat_of


def _record(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    metadata = {}
    for name, value in extra_columns(row).items():
        scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        metadata[name] = value if scalar or texts else dumps(value)
    for name in KINDS[row.kind]:
        value = row.fields.get(name)
        if name == "candidates":
            for number, candidate in enumerate(row.candidates, 1):
                fields[f"candidate_{number}"] = _spoken(candidate.messages)
                known = {
                    f"candidate_{number}_score": candidate.score,
                    f"candidate_{number}_model": candidate.model,
                }
                metadata |= {name: value for name, value in known.items() if value is not None}
        elif isinstance(value, bool):
            metadata[name] = str(value).lower()
        elif isinstance(value, float):
            metadata[name] = value
        elif value is not None:
            fields[name] = _spoken(value)
    record = {"id": row.id, "fields": fields}
    return record | {"metadata": metadata} if metadata else record


def _spoken(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages with a text each: Argilla takes no null, so calls are shown as JSON."""
    turns = chat_of(messages)
    for turn in turns:
        if turn["content"] is None:
            called = turn.get("tool_calls") or turn.get("function_call")
            turn["content"] = dumps(called) if called else ""
    return turns


FORMATS = {f"argilla_{kind}": Format(kind, _record) for kind in KINDS}
