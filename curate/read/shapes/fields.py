"""What all shapes share: texts and messages taken out of data, extra columns put back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from curate.row import Message, Row


def extra_of(data: Mapping[str, Any], taken: Sequence[str], **marks: Any) -> str | None:
    """Return every column that is not `taken` (and `marks`) as compact JSON, or `None`."""
    rest = {key: value for key, value in data.items() if key not in taken} | marks
    return dumps(rest) if rest else None


def dumps(value: Any) -> str:
    """Return compact JSON text; values that JSON lacks (dates, bytes) become text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def text_of(data: Mapping[str, Any], name: str) -> str:
    """Return the text in column `name`."""
    if name not in data:
        raise ValueError(f"column '{name}' is missing")
    value = data[name]
    if not isinstance(value, str):
        raise ValueError(f"column '{name}' must be a text, found {kind_of(value)}")
    return value


def number_of(data: Mapping[str, Any], name: str) -> float | None:
    """Return the number in column `name`, `None` where it is absent or null."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"column '{name}' must be a number, found {kind_of(value)}")
    return float(value)


def messages_of(value: Any, name: str) -> tuple[Message, ...]:
    """Return a list of chat messages; unknown keys and parts travel as JSON beside the text."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"column '{name}' must be a list of messages, found {kind_of(value)}")
    return tuple(_message(turn, f"{name}[{index}]") for index, turn in enumerate(value))


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} must be a message (role and content), found {kind_of(turn)}")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str):
        raise ValueError(f"{where}.role must be a text, found {kind_of(role)}")
    rest = {key: value for key, value in turn.items() if key not in ("role", "content")}
    # Arrow tables give null for a key that other rows have.
    rest = {key: value for key, value in rest.items() if value is not None}
    if isinstance(content, str):
        return Message(role, content, dumps(rest) if rest else None)
    if content is None and rest:
        return Message(role, "", dumps({"content": None, **rest}))
    if isinstance(content, list):
        texts = [
            p["text"] for p in content if isinstance(p, Mapping) and isinstance(p.get("text"), str)
        ]
        return Message(role, "\n".join(texts), dumps({"content": content, **rest}))
    raise ValueError(f"{where}.content must be a text or a list of parts, found {kind_of(content)}")


def turns_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat data, as `messages_of` read them."""
    out: list[dict[str, Any]] = []
    for message in messages:
        rest = json.loads(message.parts) if message.parts else {}
        content = rest.pop("content") if "content" in rest else message.content
        out.append({"role": message.role, "content": content, **rest})
    return out


def side_of(data: Mapping[str, Any], name: str, role: str) -> tuple[Message, ...]:
    """Return a prompt or answer that may be a text (one turn of `role`) or a list of messages."""
    value = data.get(name)
    if isinstance(value, str):
        return (Message(role, value),)
    return messages_of(value, name)


def plain_side(messages: Sequence[Message], role: str) -> Any:
    """Return a side as it is written: the text of a single plain turn, else the messages."""
    if len(messages) == 1 and messages[0].role == role and messages[0].parts is None:
        return messages[0].content
    return turns_of(messages)


def extra_columns(row: Row) -> dict[str, Any]:
    """Return the row's extra columns, without the marks that shapes leave for themselves."""
    extra = json.loads(row.extra) if row.extra else {}
    extra.pop("input_chars", None)
    return dict(extra)


def kind_of(value: Any) -> str:
    """Say in a word or two what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__
