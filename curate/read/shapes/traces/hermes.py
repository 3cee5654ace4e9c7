"""Hermes: ShareGPT turns with `<tool_call>` and `<tool_response>` in their texts, and `tools`.

NousResearch's hermes-function-calling-v1 and what follows it. Calls are JSON or Python literals;
each becomes a tool call with an id, each response the result of the next open one. The system
prompt that only lists the tools again is kept for the way back and is not a turn: templates write
the tools themselves. A call that cannot be read fails its row.
"""

from __future__ import annotations

import ast
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes.record_fields import (
    dumps,
    extra_of,
    kind_of,
    listed,
    mark,
    plain,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.read.shapes.sharegpt import bare_calls
from curate.read.strict_json import parse
from curate.row import Message, Record, Row

_TURNS = "conversations"
_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "tool": "tool"}
_NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}
_CALL, _RESULT, _LISTED = "tool_call", "tool_response", "tools"
# How the family's system prompt begins.
_BEGINS = "You are a function calling AI model"
# What a longer literal holds is not a call; parsing it would cost more than it is worth.
_MOST_LITERAL = 100_000


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has ShareGPT turns that list, call or answer tools in their texts."""
    turns = listed(data.get(_TURNS))
    if not isinstance(turns, list) or not data.get("tools"):
        return False
    texts = [turn.get("value") for turn in turns if isinstance(turn, Mapping)]
    marks = ("<tools>", "<tool_call>", "<tool_response>")
    return len(texts) == len(turns) and any(
        isinstance(text, str) and any(m in text for m in marks) for text in texts
    )


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation with tool calls."""
    turns = listed(data.get(_TURNS))
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"column '{_TURNS}' must be a list of turns, found {kind_of(turns)}")
    messages: list[Message] = []
    marks: dict[str, Any] = {}
    made, waiting = 0, deque[str]()
    for index, turn in enumerate(turns):
        role, text, rest = _turn(turn, f"{_TURNS}[{index}]")
        if role == "system" and not index and text.startswith(_BEGINS) and _cut(text, _LISTED)[0]:
            marks["read_as"] = {"system": text}
            continue
        if role == "assistant" and "<tool_call>" in text:
            written, around = _cut(text, _CALL)
            calls = [_call(found, f"{_TURNS}[{index}]") for found in written]
            if text.count("<tool_call>") != len(calls):
                raise ValueError(f"{_TURNS}[{index}]: a <tool_call> has no end")
            ids = [f"call_{made + number}" for number in range(1, len(calls) + 1)]
            made += len(calls)
            waiting.extend(ids)
            said = around.strip()
            rest |= {} if said else {"content": None}
            rest["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": name, "arguments": dumps(arguments)},
                }
                for id_, (name, arguments) in zip(ids, calls, strict=True)
            ]
            if text != _call_text(said, calls):
                rest["value"] = text
            messages.append(Message(role, said, dumps(rest)))
            continue
        results = [one.strip() for one in _cut(text, _RESULT)[0]] if role == "tool" else []
        if role == "tool" and not results:
            results = [text]
        for number, result in enumerate(results):
            own = dict(rest) if not number else {}
            if waiting:
                own["tool_call_id"] = waiting.popleft()
            if not number and (len(results) > 1 or text != _result_text([result])):
                own |= {"value": text, "joined": len(results)}
            messages.append(Message(role, result, dumps(own) if own else None))
        if role != "tool":
            messages.append(Message(role, text, dumps(rest) if rest else None))
    return Record("sft", {"messages": tuple(messages)}, extra_of(data, (_TURNS,), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the conversation with its calls and results in texts, as it was read where it can."""
    was = mark(row, "read_as")
    turns: list[dict[str, Any]] = []
    if isinstance(was, dict) and isinstance(was.get("system"), str):
        turns.append({"from": "system", "value": was["system"]})
    messages = list(row.messages)
    while messages:
        message = messages.pop(0)
        if message.role not in _NAMES:
            raise ValueError(f"role '{message.role}' has no name here: {', '.join(_NAMES)}")
        rest = json.loads(message.parts) if message.parts else {}
        written, count = rest.pop("value", None), rest.pop("joined", 1)
        value = message.content
        if message.role == "tool":
            rest.pop("tool_call_id", None)
            others = [messages.pop(0) for _ in range(min(count, len(messages) + 1) - 1)]
            results = [value, *(other.content for other in others)]
            same = [one.strip() for one in _cut(written or "", _RESULT)[0]] or [written]
            value = written if same == results else _result_text(results)
        elif "tool_calls" in rest:
            listed_calls = bare_calls(rest.pop("tool_calls"))
            calls = [(call["name"], call["arguments"]) for call in listed_calls]
            rest.pop("content", None)
            value = _call_text(value, calls)
            if isinstance(written, str):
                found, around = _cut(written, _CALL)
                before = [_call(one, _TURNS) for one in found]
                value = written if (around.strip(), before) == (message.content, calls) else value
        elif "content" in rest:
            raise ValueError("a Hermes turn holds plain text, no media parts")
        name = rest.pop("from", _NAMES[message.role])
        turns.append({"from": name, "value": value, **rest})
    return with_extra({_TURNS: turns}, row)


def _turn(turn: Any, where: str) -> tuple[str, str, dict[str, Any]]:
    """Return a turn's role and text, and what else it holds."""
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} must be a turn, found {kind_of(turn)}")
    name, text = turn.get("from"), turn.get("value")
    if not isinstance(name, str) or name not in _ROLES:
        raise ValueError(f"{where}.from must be one of {', '.join(_ROLES)}, found {name!r:.40}")
    if not isinstance(text, str):
        raise ValueError(f"{where}.value must be a string, found {kind_of(text)}")
    rest = {k: v for k, v in turn.items() if k not in ("from", "value") and v is not None}
    taken = next((key for key in ("tool_calls", "content", "joined", "role") if key in rest), None)
    if taken is not None:
        raise ValueError(f"{where} has '{taken}', a name that turns of other forms have; rename it")
    role = _ROLES[name]
    return role, text, {**rest, "from": name} if name != _NAMES[role] else rest


def _cut(text: str, tag: str) -> tuple[list[str], str]:
    """Return what stands between each tag and its end, and the text around these.

    It takes one pass: an expression would look for the end of each tag that has none anew.
    """
    begin, end = f"<{tag}>", f"</{tag}>"
    inner, around, at = list[str](), list[str](), 0
    while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start)) >= 0:
        inner.append(text[start + len(begin) : stop])
        around.append(text[at:start])
        at = stop + len(end)
    return inner, "".join((*around, text[at:]))


def _call(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a call: JSON, or a Python literal."""
    # Some rows hold the two characters of a line break in place of one.
    inner = text.strip().removeprefix("\\n").removesuffix("\\n").strip()
    found: Any = None
    try:
        found = parse(inner)
    except (ValueError, RecursionError):
        if len(inner) <= _MOST_LITERAL:
            try:
                found = plain(ast.literal_eval(inner))
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                found = None
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise ValueError(
            f"{where}: a tool call must be JSON or a Python literal with a name and arguments, "
            f"found {inner[:80]!r}"
        )
    arguments = found.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{where}: the arguments of {found['name']} must be an object")
    return found["name"], dict(arguments)


def _call_text(said: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return calls as the text of a turn, behind what it says."""
    blocks = [
        f"<tool_call>\n{json.dumps({'name': n, 'arguments': a}, ensure_ascii=False)}\n</tool_call>"
        for n, a in calls
    ]
    return "\n".join([said, *blocks] if said else blocks)


def _result_text(results: Sequence[str]) -> str:
    return "\n".join(f"<tool_response>\n{result}\n</tool_response>" for result in results)


SHAPES = (
    Shape(
        "hermes",
        "sft",
        __doc__ or "",
        ((_TURNS, "tools"),),
        detect,
        to_record,
        from_row,
    ),
)
