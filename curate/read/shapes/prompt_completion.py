"""Prompt and completion, as texts or as messages (TRL's prompt-completion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, mark, sides_from, sides_of, with_extra
from curate.read.shapes.unpaired import is_label
from curate.row import Record, Row

KIND = "sft"
_ROLES = {"prompt": "user", "completion": "assistant"}
SIGNATURE = (tuple(_ROLES),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a completion, and no label."""
    return "prompt" in data and "completion" in data and not is_label(data.get("label"))


def to_record(data: Mapping[str, Any]) -> Record:
    """Return prompt and completion as one conversation."""
    sides, marks = sides_of(data, _ROLES)
    marks = marks or {"completion_turns": len(sides["completion"])}
    messages = sides["prompt"] + sides["completion"]
    return Record(KIND, {"messages": messages}, extra_of(data, tuple(_ROLES), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return texts where they were read so and still are, else messages, the last turn apart."""
    messages, turns = row.messages, mark(row, "completion_turns")
    if not messages or messages[-1].role != "assistant":
        raise ValueError("a completion must be an assistant's turn, and the last one is none")
    if len(messages) < 2:
        raise ValueError("a prompt and a completion need two turns, and there is one")
    # A step may have cut the conversation since: at least one turn stays on each side.
    cut = max(1, len(messages) - (turns if isinstance(turns, int) else 1))
    sides = {"prompt": messages[:cut], "completion": messages[cut:]}
    return with_extra(sides_from(row._replace(fields=sides), _ROLES), row)
