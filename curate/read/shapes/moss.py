"""MOSS: turns of Human and MOSS with thoughts, commands and results between (Sun et al. 2023).

The turns stand in `chat` as `turn_1`, `turn_2` and so on; `meta_instruction` is a system prompt.
What a turn holds besides what is said travels with the assistant's message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import dumps, extra_of, kind_of, text_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_SAID = re.compile(r"\A(<\|\w+\|>:\s*)?(.*?)((?:<eo\w>)?\s*)\Z", re.DOTALL)
_SPEAKERS = {"Human": "user", "MOSS": "assistant"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a chat of numbered turns."""
    chat = data.get("chat")
    return isinstance(chat, Mapping) and all(
        isinstance(turn, Mapping) and _SPEAKERS.keys() <= turn.keys() for turn in chat.values()
    )


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the chat as a conversation."""
    chat = data.get("chat")
    if not isinstance(chat, Mapping) or list(chat) != [f"turn_{n + 1}" for n in range(len(chat))]:
        raise ValueError(f"column 'chat' must hold turn_1, turn_2 and so on, {kind_of(chat)}")
    messages = []
    for name, turn in chat.items():
        if not isinstance(turn, Mapping):
            raise ValueError(f"'{name}' of the chat must be an object, found {kind_of(turn)}")
        beside = {key: value for key, value in turn.items() if key not in _SPEAKERS}
        for speaker, role in _SPEAKERS.items():
            begin, said, end = _SAID.fullmatch(text_of(turn, speaker)).groups("")  # type: ignore[union-attr]
            parts: dict[str, Any] = {"around": [begin, end]} if begin or end else {}
            if role == "assistant" and beside:
                parts["beside"] = beside
            messages.append(Message(role, said, dumps(parts) if parts else None))
    return Record("sft", {"messages": tuple(messages)}, extra_of(data, ("chat",)))


def from_row(row: Row) -> dict[str, Any]:
    """Return the conversation as a chat of numbered turns."""
    messages = row.messages
    if [m.role for m in messages] != [*_SPEAKERS.values()] * (len(messages) // 2):
        raise ValueError("this shape holds turns of user and assistant by turns")
    chat: dict[str, Any] = {}
    for number in range(len(messages) // 2):
        turn: dict[str, Any] = {}
        for speaker, message in zip(_SPEAKERS, messages[2 * number :], strict=False):
            parts = json.loads(message.parts) if message.parts else {}
            if set(parts) - {"around", "beside"}:
                raise ValueError("this shape holds plain texts, no media parts and no tool calls")
            begin, end = parts.get("around", ("", ""))
            turn |= {speaker: begin + message.content + end, **parts.get("beside", {})}
        chat[f"turn_{number + 1}"] = turn
    return with_extra({"chat": chat}, row)


SHAPES = (Shape(*("moss", "sft", __doc__ or "", (("chat",),)), *(detect, to_record, from_row)),)
