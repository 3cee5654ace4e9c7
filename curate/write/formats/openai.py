"""OpenAI's fine-tuning files: chats, and preferences.

Its check refuses keys that it does not know, so extra columns and a pair's margin stay behind,
except `tools`, `functions` and `parallel_tool_calls`; a message's unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.read.shapes.record_fields import dumps, extra_columns, mark
from curate.row import Message, Row
from curate.write.formats import Format, chat_of, check_prompt, tools_of

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# `reasoning_content` is what reasoning models say first; whoever trains them wants it.
_KEYS = {"role", "content", "name", "weight", "refusal", "tool_calls", "function_call"}
_KEYS |= {"reasoning_content"}
_TOOLS = ("tools", "functions", "parallel_tool_calls")


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    turns = chat_of(messages)
    for index, turn in enumerate(turns):
        if turn["role"] not in _ROLES:
            allowed = ", ".join(_ROLES)
            raise ValueError(f"role '{turn['role']}' is unknown to OpenAI; allowed: {allowed}")
        for call in turn.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and not isinstance(function.get("arguments"), str):
                function["arguments"] = dumps(function.get("arguments"))
        known = _KEYS | ({"tool_call_id"} if turn["role"] == "tool" else set())
        unknown = sorted(set(turn) - known)
        if unknown:
            raise ValueError(f"messages[{index}] has the key '{unknown[0]}', which OpenAI refuses")
    return turns


def _chat(row: Row) -> dict[str, Any]:
    messages = row.messages
    if not messages or messages[-1].role != "assistant":
        raise ValueError("the last turn must be the assistant's")
    extra = extra_columns(row)
    if extra.get("chat_template_kwargs"):
        raise ValueError(
            "its column 'chat_template_kwargs' would be lost, as OpenAI's models have no template; "
            "write such rows as trl_sft or axolotl_chat"
        )
    if "tools" in extra:
        extra["tools"] = tools_of(extra["tools"])
    return {"messages": _messages(messages)} | {
        k: extra[k] for k in _TOOLS if extra.get(k) is not None
    }


def _preference(row: Row) -> dict[str, Any]:
    check_prompt(row)
    beside = mark(row, "read_as")
    columns = {**extra_columns(row), **(beside if isinstance(beside, dict) else {})}
    tools = {key: columns[key] for key in _TOOLS if key in columns}
    out: dict[str, Any] = {"input": {"messages": _messages(row.prompt), **tools}}
    sides = {"preferred_output": row.chosen, "non_preferred_output": row.rejected}
    for name, side in sides.items():
        if len(side) != 1 or side[0].role != "assistant":
            raise ValueError(f"{name} must be a single assistant's message")
        out[name] = _messages(side)
    return out


FORMATS = {
    "openai_chat": Format("sft", _chat),
    "openai_dpo": Format("preference", _preference),
}
