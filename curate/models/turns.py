"""Turns as models read them: tool calls, tool turns and media in the provider's form, or refused.

A part that a model cannot read fails the request before it is sent: an answer about an image that
nobody saw would be worse than none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from curate.errors import NotSent
from curate.read.shapes.record_fields import turns_of
from curate.row import Message

# What a turn may hold for a model, beside role and content; other keys are notes about the turn.
_READ = ("name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio")
# Content parts of OpenAI's chat: platform.openai.com/docs/api-reference/chat/create, "messages".
_PARTS = ("text", "refusal", "image_url", "input_audio", "file", "video_url", "audio_url")


def openai_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return turns in the form of OpenAI-compatible servers.

    Raises:
        NotSent: a part that this form has no place for.
    """
    turns: list[dict[str, Any]] = []
    pending: list[str] = []
    for number, turn in enumerate(_readable(messages)):
        if isinstance(turn["content"], list):
            turn["content"] = [_openai_part(part) for part in turn["content"]]
        if calls := turn.get("tool_calls"):
            turn["tool_calls"] = []
            for place, call in enumerate(calls):
                given = call.get("function", call) if isinstance(call, Mapping) else None
                if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
                    found = str(call)[:80]
                    raise NotSent(f"this model cannot read a tool call without a name: {found}")
                arguments = given.get("arguments", {})
                if not isinstance(arguments, str):
                    arguments = json.dumps(arguments, ensure_ascii=False)
                function = {"name": given["name"], "arguments": arguments}
                own = str(call.get("id") or f"call_{number}_{place}")
                turn["tool_calls"].append({"id": own, "type": "function", "function": function})
            pending = [call["id"] for call in turn["tool_calls"]]
        if turn["role"] == "tool" and "tool_call_id" not in turn:
            if not pending:
                raise NotSent("a tool turn answers no call: no tool_calls are before it")
            turn["tool_call_id"] = pending[0]
        if turn["role"] == "tool" and turn["tool_call_id"] in pending:
            pending.remove(turn["tool_call_id"])
        turns.append(turn)
    return turns


def template_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return turns as chat templates of text models take them: texts, and calls as data.

    Raises:
        NotSent: media, which a text model cannot read.
    """
    turns = _readable(messages)
    for turn in turns:
        if isinstance(turn["content"], list):
            texts = []
            for part in turn["content"]:
                if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
                    raise _unreadable(part)
                texts.append(part["text"])
            turn["content"] = "\n".join(texts)
        for call in turn.get("tool_calls") or ():
            given = call.get("function", call)
            if isinstance(given.get("arguments"), str):
                try:
                    # Templates print arguments as JSON themselves.
                    given["arguments"] = json.loads(given["arguments"])
                except ValueError:
                    continue
    return turns


def check_rendered(turns: Sequence[Mapping[str, Any]], text: str) -> None:
    """Raise `NotSent` where a chat template has left out a tool call or a tool's answer."""
    for turn in turns:
        calls = turn.get("tool_calls") or ()
        names = [str(call.get("function", call).get("name", "")) for call in calls]
        said = [str(turn["content"] or "").strip()] if turn["role"] == "tool" else []
        # Templates like those of Llama 3.1 and gpt-oss write what a tool said as JSON.
        if any(
            one not in text and json.dumps(one, ensure_ascii=False)[1:-1] not in text
            for one in (*names, *said)
        ):
            raise NotSent(
                "this model cannot read tool calls: its chat template leaves them out; use a model "
                "whose template takes tools, or leave such rows to others"
            )


def _readable(messages: Sequence[Message]) -> list[dict[str, Any]]:
    kept = ("role", "content", *_READ)
    return [{name: turn[name] for name in kept if name in turn} for turn in turns_of(messages)]


def _openai_part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind is None and isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind in _PARTS and part.get(kind) is not None:
        return dict(part)
    if kind == "image":
        where = part.get("url") or part.get("image")
        if isinstance(where, str) and where.startswith(("http://", "https://", "data:")):
            return {"type": "image_url", "image_url": {"url": where}}
    raise _unreadable(part)


def _unreadable(part: Any) -> NotSent:
    kind = part.get("type", "unknown") if isinstance(part, Mapping) else type(part).__name__
    return NotSent(
        f"this model cannot read {kind} parts as the row has them; use a model that does, write "
        "images as URLs (image_url), or leave such rows to others"
    )


def instruction_and_answer(messages: Sequence[Message]) -> tuple[str, str]:
    """Return instruction and answer of a conversation that ends with an answer.

    The instruction is what stands before the answer: the contents of all turns, joined by newlines.

    Raises:
        ValueError: there is no answer, or no text that could be ranked.
    """
    if not messages or messages[-1].role != "assistant":
        raise ValueError(
            "a style ranker scores an answer, and the last turn is not the assistant's"
        )
    if any(turn.attached for turn in messages):
        raise ValueError("the row has tool calls or media, and only texts can be ranked by style")
    *before, answer = (turn.content for turn in messages)
    if not answer.strip():
        raise ValueError(
            "the answer is empty, so it has no style; drop such rows (length: {min: 1})"
        )
    return "\n".join(before), answer
