"""Prompt and completion, as texts or as messages (TRL's prompt-completion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import extra_columns, extra_of, side_of, turns_of
from curate.row import Record, Row

KIND = "sft"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a completion, and no label."""
    return "prompt" in data and "completion" in data and not isinstance(data.get("label"), bool)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return prompt and completion as one conversation."""
    prompt, completion = side_of(data, "prompt", "user"), side_of(data, "completion", "assistant")
    plain = isinstance(data["prompt"], str)
    marks = {} if plain else {"completion_turns": len(completion)}
    return Record(
        KIND, {"messages": prompt + completion}, extra_of(data, ("prompt", "completion"), **marks)
    )


def from_row(row: Row) -> dict[str, Any]:
    """Return the row as prompt and completion; the last assistant turn is the completion."""
    messages, extra = row.messages, extra_columns(row)
    turns = extra.pop("completion_turns", None)
    if not messages or messages[-1].role != "assistant":
        raise ValueError("a completion must be an assistant's turn, and the last one is none")
    plain = turns is None and [m.role for m in messages] == ["user", "assistant"]
    if plain and not any(m.parts for m in messages):
        out: dict[str, Any] = {"prompt": messages[0].content, "completion": messages[1].content}
    else:
        cut = len(messages) - (turns or 1)
        out = {"prompt": turns_of(messages[:cut]), "completion": turns_of(messages[cut:])}
    return out | {k: v for k, v in extra.items() if k not in out}
