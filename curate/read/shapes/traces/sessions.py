"""Sessions of coding agents: Claude Code, Codex and Pi, as their own JSON Lines files hold them.

A session reads as one conversation with tool calls, thoughts apart (`reasoning_content`). What a
person or a model said, called or got back is kept as it is, empty turns too: the step `tools` drops
those by name, and `structure` a session in which nobody said anything. What is not part of the
conversation (injected notes, errors of the connection, local commands, snapshots) is left out, and
counted in the column `left_out`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.prompts.replies.thought_tags import KEYS
from curate.read.agent_sessions import EVENTS, SESSION
from curate.read.shapes.record_fields import dumps, kind_of
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

LOST = "the events of its session, with their times, ids, costs and snapshots"
# What Claude Code writes where a command was given to the agent itself.
_LOCAL = ("<command-name>", "<command-message>", "<local-command-")
_CODEX = ("session_meta", "turn_context", "response_item", "event_msg")
_PI = ("session", "message", "model_change", "thinking_level_change")
_CALLS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
# Calls among the blocks of Claude Code's and Pi's messages, and where their arguments stand.
_USES = {"tool_use": "input", "toolCall": "arguments"}
_OUTPUTS = tuple(f"{name}_output" for name in _CALLS)


class Conversation:
    """A conversation as it is put together of events: calls and thoughts join their answer."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.left_out: Counter[str] = Counter()
        self.about: dict[str, Any] = {}
        self._said: list[str] = []
        self._parts: dict[str, Any] = {}

    def think(self, text: str) -> None:
        """Add to the thoughts of the answer that follows."""
        if text.strip():
            self._parts[KEYS[0]] = "\n\n".join(filter(None, (self._parts.get(KEYS[0]), text)))

    def say(self, text: str) -> None:
        """Add to what the assistant says; what is said behind a call begins another turn."""
        if "tool_calls" in self._parts:
            self.end_answer()
        self._said.append(text)

    def call(self, id_: Any, name: Any, arguments: Any) -> None:
        """Add a tool call to the answer."""
        text = arguments if isinstance(arguments, str) else dumps(arguments)
        function = {"name": name, "arguments": text}
        call = {"id": id_, "type": "function", "function": function}
        self._parts.setdefault("tool_calls", []).append(call)

    def end_answer(self) -> None:
        """Put the assistant's turn behind the others, if there is one."""
        if self._said or self._parts:
            text = "\n\n".join(filter(None, self._said))
            parts = self._parts if text else {"content": None, **self._parts}
            # An answer of nothing stays one, so that it is seen.
            parts = parts if parts != {"content": None} else {}
            self.messages.append(Message("assistant", text, dumps(parts) if parts else None))
        self._said, self._parts = [], {}

    def turn(self, role: str, text: str, **parts: Any) -> None:
        """Put a turn of somebody else behind the others."""
        self.end_answer()
        own = {name: value for name, value in parts.items() if value is not None}
        self.messages.append(Message(role, text, dumps(own) if own else None))

    def record(self, data: Mapping[str, Any], harness: str) -> Record:
        """Return the conversation as a record."""
        self.end_answer()
        columns: dict[str, Any] = {"harness": harness, SESSION: data.get(SESSION), **self.about}
        if "sidechain" in data:
            columns["sidechain"] = data["sidechain"]
        if self.left_out:
            columns["left_out"] = dict(sorted(self.left_out.items()))
        return Record("sft", {"messages": tuple(self.messages)}, dumps(columns))


def _events(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    events = data.get(EVENTS)
    if not isinstance(events, list) or not all(isinstance(one, Mapping) for one in events):
        raise ValueError(f"'{EVENTS}' must be a list of objects, found {kind_of(events)}")
    return events


def _text(content: Any, where: str) -> tuple[str, Any]:
    """Return the text of a content, and the content itself where it holds more than text."""
    if content is None or isinstance(content, str):
        return content or "", None
    if not isinstance(content, list):
        return dumps(content), None
    texts, more = [], False
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, Mapping):
            more = True
        else:
            raise ValueError(f"{where}: a part of a content must be an object")
    text = "\n".join(texts)
    return text, content if more else None


_SHAPES: list[Shape] = []
Converter = Callable[[Mapping[str, Any]], Record]


def session_shape(
    name: str, agent: str, columns: Sequence[str], detect: Callable[[Mapping[str, Any]], bool]
) -> Callable[[Converter], Converter]:
    """Make a shape of the function that turns a session's events into a conversation."""

    def not_written(row: Row) -> list[dict[str, Any]]:
        raise ValueError(
            "a conversation holds no events of a session; write it as messages or trl_sft"
        )

    def made(to_record: Converter) -> Converter:
        doc = f"Events of {agent}, a record each; those of a session become one conversation."
        shape = Shape(
            name,
            "sft",
            doc,
            (tuple(columns),),
            detect,
            to_record,
            not_written,
            system=(),
            lost=LOST,
            grouped=True,
            for_reading=True,
        )
        _SHAPES.append(shape)
        return to_record

    return made


@session_shape(
    "claude_code",
    "Claude Code",
    ("type", "message", "sessionId"),
    lambda data: isinstance(data.get("sessionId"), str) and "payload" not in data,
)
def claude_code(data: Mapping[str, Any]) -> Record:
    """Return a session of Claude Code as a conversation."""
    made = Conversation()
    for number, event in enumerate(_events(data), 1):
        kind, message = event.get("type"), event.get("message")
        for name in ("cwd", "version", "gitBranch"):
            if isinstance(event.get(name), str):
                made.about.setdefault(name, event[name])
        if kind not in ("user", "assistant") or not isinstance(message, Mapping):
            made.left_out[str(kind)] += 1
            continue
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        where = f"event {number}"
        if any(not isinstance(block, Mapping) for block in blocks):
            raise ValueError(f"{where}: a block of a message must be an object")
        if kind == "assistant":
            if event.get("isApiErrorMessage") is True or message.get("model") == "<synthetic>":
                made.left_out["error of the connection"] += 1
                continue
            made.about.setdefault("model", message.get("model"))
            _answer(made, blocks, where)
        elif event.get("isMeta") is True:
            made.left_out["injected note"] += 1
        else:
            _claude_user(made, blocks, where)
    return made.record(data, "claude_code")


def _answer(made: Conversation, blocks: list[Any], where: str) -> None:
    """Add the blocks of an assistant's message: texts, thoughts and calls."""
    for block in blocks:
        if not isinstance(block, Mapping):
            raise ValueError(f"{where}: a block of a message must be an object")
        kind = block.get("type")
        if kind == "text":
            made.say(str(block.get("text") or ""))
        elif kind == "thinking":
            made.think(str(block.get("thinking") or ""))
        elif kind in _USES:
            made.call(block.get("id"), block.get("name"), block.get(_USES[kind]) or {})
        else:
            made.left_out[f"{kind} block"] += 1


def _claude_user(made: Conversation, blocks: list[Any], where: str) -> None:
    """Add the blocks of a user's message: results of tools, then what was said."""
    results = [block for block in blocks if block.get("type") == "tool_result"]
    for block in results:
        text, content = _text(block.get("content"), where)
        failed = True if block.get("is_error") else None
        made.turn(
            "tool",
            text,
            tool_call_id=block.get("tool_use_id"),
            is_error=failed,
            content=content,
        )
    said = [block for block in blocks if block.get("type") != "tool_result"]
    if not said and results:
        return
    text, content = _text(said, where)
    if text.lstrip().startswith(_LOCAL):
        made.left_out["local command"] += 1
        return
    made.turn("user", text, content=content)


@session_shape(
    "codex",
    "Codex",
    ("type", "payload", "timestamp"),
    lambda data: data.get("type") in _CODEX and isinstance(data.get("payload"), Mapping),
)
def codex(data: Mapping[str, Any]) -> Record:
    """Return a session of Codex as a conversation."""
    made = Conversation()
    for number, event in enumerate(_events(data), 1):
        kind, payload = event.get("type"), event.get("payload")
        if not isinstance(payload, Mapping):
            made.left_out[str(kind)] += 1
            continue
        if kind == "session_meta":
            base = payload.get("base_instructions")
            given = base.get("text") if isinstance(base, Mapping) else payload.get("instructions")
            if isinstance(given, str) and given.strip():
                made.turn("system", given)
            made.about |= {n: payload[n] for n in ("cwd", "cli_version") if n in payload}
        elif kind == "turn_context":
            made.about.setdefault("model", payload.get("model"))
        elif kind == "response_item":
            _codex_item(made, payload, f"event {number}")
        else:
            made.left_out[str(kind)] += 1
    return made.record(data, "codex")


def _codex_item(made: Conversation, item: Mapping[str, Any], where: str) -> None:
    """Add one item of a response: a message, thoughts, a call or its output."""
    kind = item.get("type")
    if kind == "message":
        text, content = _text(item.get("content"), where)
        role = item.get("role")
        if role == "assistant":
            made.say(text)
        elif isinstance(role, str):
            made.turn(role, text, content=content)
        else:
            raise ValueError(f"{where}: a message must have a role, found {role!r:.40}")
    elif kind == "reasoning":
        for name in ("content", "summary"):
            text, _ = _text(item.get(name), where)
            if text.strip():
                made.think(text)
                break
        else:
            made.left_out["encrypted thoughts"] += 1
    elif kind in _CALLS:
        given = item.get(_CALLS[kind])
        arguments = {"input": given} if kind == "custom_tool_call" else given
        name = item.get("name") or "local_shell"
        made.call(item.get("call_id") or item.get("id"), name, arguments)
    elif kind in _OUTPUTS:
        output = item.get("output")
        inner = output.get("content") if isinstance(output, Mapping) else output
        text, content = _text(output if inner is None else inner, where)
        made.turn("tool", text, tool_call_id=item.get("call_id"), content=content)
    else:
        made.left_out[str(kind)] += 1


@session_shape(
    "pi",
    "Pi",
    ("type", "message", "id", "parentId"),
    lambda data: data.get("type") in _PI and not {"payload", "sessionId"} & set(data),
)
def pi(data: Mapping[str, Any]) -> Record:
    """Return a session of Pi as a conversation."""
    made = Conversation()
    for number, event in enumerate(_events(data), 1):
        kind, message = event.get("type"), event.get("message")
        if kind == "session":
            made.about |= {name: event[name] for name in ("cwd", "version") if name in event}
            continue
        if kind != "message" or not isinstance(message, Mapping):
            made.left_out[str(kind)] += 1
            continue
        role, where = message.get("role"), f"event {number}"
        if role == "assistant":
            made.about.setdefault("model", message.get("model"))
            content = message.get("content")
            alone = [{"type": "text", "text": content or ""}]
            _answer(made, content if isinstance(content, list) else alone, where)
        elif role == "toolResult":
            text, content = _text(message.get("content"), where)
            failed = True if message.get("isError") else None
            made.turn(
                "tool",
                text,
                tool_call_id=message.get("toolCallId"),
                name=message.get("toolName"),
                is_error=failed,
                content=content,
            )
        elif role == "user":
            text, content = _text(message.get("content"), where)
            made.turn("user", text, content=content)
        else:
            made.left_out[f"message of {role}"] += 1
    return made.record(data, "pi")


SHAPES = tuple(_SHAPES)
