"""Prompt and completion, as texts or as messages (TRL's prompt-completion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import extra_of, mark, sides_of, turns_of, with_extra
from curate.read.shapes.unpaired import is_label
from curate.row import Record, Row

KIND = "sft"
_ROLES = {"prompt": "user", "completion": "assistant"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a completion, and no label."""
    return "prompt" in data and "completion" in data and not is_label(data.get("label"))


def to_record(data: Mapping[str, Any]) -> Record:
    """Return prompt and completion as one conversation."""
    sides, _ = sides_of(data, _ROLES)
    texts = isinstance(data["prompt"], str)
    marks = {} if texts else {"completion_turns": len(sides["completion"])}
    messages = sides["prompt"] + sides["completion"]
    return Record(KIND, {"messages": messages}, extra_of(data, tuple(_ROLES), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the row as prompt and completion; the last assistant turn is the completion."""
    messages, turns = row.messages, mark(row, "completion_turns")
    if not messages or messages[-1].role != "assistant":
        raise ValueError("a completion must be an assistant's turn, and the last one is none")
    plain = turns is None and [m.role for m in messages] == ["user", "assistant"]
    if plain and not any(m.parts for m in messages):
        return with_extra({"prompt": messages[0].content, "completion": messages[1].content}, row)
    if len(messages) < 2:
        raise ValueError("a prompt and a completion need two turns, and there is one")
    # A step may have cut the conversation since: at least one turn stays on each side.
    cut = max(1, len(messages) - (turns if isinstance(turns, int) else 1))
    return with_extra(
        {"prompt": turns_of(messages[:cut]), "completion": turns_of(messages[cut:])}, row
    )
