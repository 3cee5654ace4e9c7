"""ShareGPT conversations and their dialects, as Vicuna, LLaMA-Factory and Axolotl read them.

The turns stand in `conversations` (or `conversation`, `items`, `messages`), as `from` and `value`
(or `role` and `content`), between human and gpt (or other names). A `function_call` whose value is
JSON becomes tool calls with ids (thoughts before it are kept apart), and the `observation` behind
it their result. What differs from the plain dialect is marked, on row or turn, for the way back.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.prompts.replies.thought_tags import KEYS, BrokenThought, taken_apart, thought_of
from curate.read.shapes.messages import turn_lists
from curate.read.shapes.record_fields import dumps, extra_of, kind_of, listed, mark, with_extra
from curate.read.shapes.shape import Shape
from curate.read.strict_json import parse
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("conversations", "conversation", "items", "messages")
_KEYS = (("from", "value"), ("role", "content"))
CALL = "function_call"
# The first name of a role is the one that is written.
_NAMES = {
    "user": ("human", "user", "prompter"),
    "assistant": ("gpt", "assistant", "chatgpt", "bing", "bard", "model", CALL),
    "system": ("system",),
    "tool": ("observation", "tool", "function", "function_response"),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a list of turns in one of the columns."""
    column = _column(data)
    turns = listed(data[column]) if column else None
    if "chosen" in data and "rejected" in data:
        return False
    # Messages with roles are OpenAI's.
    allowed = _KEYS[:1] if column == "messages" else _KEYS
    return isinstance(turns, list) and all(_keys(turn) in allowed for turn in turns)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a conversation."""
    column = _column(data)
    if column is None:
        raise ValueError(f"column '{_COLUMNS[0]}' is missing")
    messages, keys = turns_from(data[column], column)
    dialect: dict[str, Any] = {} if column == _COLUMNS[0] else {"column": column}
    if keys != _KEYS[0]:
        dialect["keys"] = list(keys)
    marks = {"read_as": dialect} if dialect else {}
    return Record("sft", {"messages": messages}, extra_of(data, [column], **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the conversation in the dialect that it was read from."""
    dialect = mark(row, "read_as")
    dialect = dialect if isinstance(dialect, dict) else {}
    turns = turns_to(row.messages, dialect.get("keys", _KEYS[0]))
    return with_extra({dialect.get("column", _COLUMNS[0]): turns}, row)


def columns() -> dict[str, pa.DataType]:
    """Return the column of the vectorised form, in the plain dialect."""
    import pyarrow as pa

    turn = pa.struct([(key, pa.string()) for key in _KEYS[0]])
    return {_COLUMNS[0]: pa.list_(turn)}


def to_columns(table: pa.Table) -> pa.Table | None:
    """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
    import pyarrow as pa
    import pyarrow.compute as pc

    turns = turn_lists(table.column(_COLUMNS[0]), *_KEYS[0])
    if turns is None:
        return None
    # Calls and their results are more than text.
    spoken = {n: role for n, role in _ROLES.items() if role != "tool" and n != CALL}
    known = pc.index_in(turns.names, pa.array(spoken))
    if known.null_count:
        return None
    roles = pa.array(spoken.values()).take(known)
    parts = [None if n == _NAMES[r][0] else dumps({"from": n}) for n, r in spoken.items()]
    messages = turns.messages(roles, pa.array(parts, pa.string()).take(known))
    return pa.table({"messages": messages, "extra": pa.nulls(len(table), pa.string())})


def _column(data: Mapping[str, Any]) -> str | None:
    return next((name for name in _COLUMNS if data.get(name) is not None), None)


def _keys(turn: Any) -> tuple[str, str] | None:
    if not isinstance(turn, Mapping):
        return None
    # Tables give every turn the keys of all others: what is null is not there.
    there = [keys for keys in _KEYS if all(key in turn for key in keys)]
    return next((keys for keys in there if turn[keys[0]] is not None), next(iter(there), None))


def turns_from(turns: Any, column: str) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """Return a list of turns as messages, and the keys that it uses.

    Calls get the ids `call_1`, `call_2` and so on; results answer the calls before them in order.
    """
    turns = listed(turns)
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"column '{column}' must be a list of turns, found {kind_of(turns)}")
    keys = _keys(turns[0])
    if keys is None:
        raise ValueError(f"{column}[0] must have 'from' and 'value', or 'role' and 'content'")
    messages: list[Message] = []
    made, open_calls = 0, deque[str]()
    for index, turn in enumerate(turns):
        message, name, rest = _message(turn, keys, f"{column}[{index}]")
        thought, calls = _thought_and_calls(message.content) if name == CALL else ("", [])
        if calls:
            ids = [f"call_{made + n}" for n in range(1, len(calls) + 1)]
            made += len(calls)
            open_calls.extend(ids)
            if message.content != _call_text(calls):
                rest["value"] = message.content
            if thought:
                rest[KEYS[0]] = thought
            tool_calls = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": call["name"], "arguments": dumps(call["arguments"])},
                }
                for call, id_ in zip(calls, ids, strict=True)
            ]
            rest |= {"content": None, "tool_calls": tool_calls}
            message = message._replace(content="")
        elif message.role == "tool" and open_calls and "tool_call_id" not in rest:
            # One turn may hold the results of several calls, as a JSON list of texts.
            several = listed(message.content) if len(open_calls) > 1 else None
            results = several if isinstance(several, list) else []
            whole = len(results) == len(open_calls) and all(isinstance(r, str) for r in results)
            rest["tool_call_id"] = open_calls.popleft()
            if whole:
                rest |= {"value": message.content, "joined": len(results)}
                messages.append(Message("tool", results[0], dumps(rest)))
                for text in results[1:]:
                    parts = {k: v for k, v in rest.items() if k == "from"}
                    parts["tool_call_id"] = open_calls.popleft()
                    messages.append(Message("tool", text, dumps(parts)))
                continue
        messages.append(message._replace(parts=dumps(rest) if rest else None))
    return tuple(messages), keys


def _message(turn: Any, keys: tuple[str, str], where: str) -> tuple[Message, str, dict[str, Any]]:
    """Return a turn as a message, the speaker's name, and what else the turn holds."""
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} must be a turn, found {kind_of(turn)}")
    name, value = (turn.get(key) for key in keys)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None or not isinstance(name, str):
        found = f"'{name}'" if isinstance(name, str) else kind_of(name)
        raise ValueError(f"{where}.{keys[0]} must be one of {', '.join(_ROLES)}, found {found}")
    if not isinstance(value, str):
        raise ValueError(f"{where}.{keys[1]} must be a string, found {kind_of(value)}")
    rest = {k: v for k, v in turn.items() if k not in keys and v is not None}
    twice = next((key for key in ("from", "role", "content") if key in rest), None)
    if twice is not None:
        raise ValueError(
            f"{where} has '{twice}' beside '{keys[0]}' and '{keys[1]}'; leave one of them out"
        )
    if name != written_name(role, keys):
        rest["from"] = name
    return Message(role, value), name, rest


def _calls(text: str) -> list[dict[str, Any]]:
    """Return the calls, each a name and arguments, that a turn's text holds as JSON, or none."""
    try:
        found = parse(text)
    except (ValueError, RecursionError):
        return []
    calls = found if isinstance(found, list) else [found]
    well = all(isinstance(c, dict) and set(c) == {"name", "arguments"} for c in calls)
    named = well and all(
        isinstance(c["name"], str) and isinstance(c["arguments"], dict) for c in calls
    )
    return [{"name": c["name"], "arguments": c["arguments"]} for c in calls] if named else []


def _thought_and_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return what a turn thinks before it calls, as LLaMA-Factory has it, and its calls."""
    try:
        found = taken_apart(text)
    except BrokenThought:
        found = None
    return ("", _calls(text)) if found is None else (found.thought, _calls(found.answer))


def joined_results(messages: Sequence[Message]) -> list[Message]:
    """Return messages with the results of one turn's calls in one message, as a JSON list."""
    out: list[Message] = []
    for message in messages:
        if out and message.role == "tool" and out[-1].role == "tool":
            last = json.loads(out[-1].parts or "{}")
            texts = [*last.get("results", [out[-1].content]), message.content]
            parts = dumps({"results": texts})
            out[-1] = Message("tool", json.dumps(texts, ensure_ascii=False), parts)
        else:
            out.append(message)
    return out


def _call_text(calls: Sequence[Mapping[str, Any]]) -> str:
    """Return calls as the text of a turn: one object, or a list of several."""
    return json.dumps(calls[0] if len(calls) == 1 else list(calls), ensure_ascii=False)


def written_name(role: str, keys: Sequence[str]) -> str:
    """Return how a role is called: as in OpenAI's chats beside 'role', as ShareGPT does else."""
    return role if keys[0] == "role" else _NAMES[role][0]


def turns_to(messages: Sequence[Message], keys: Sequence[str] = _KEYS[0]) -> list[dict[str, Any]]:
    """Return messages as turns; tool calls become a `function_call`, media parts have no form."""
    out: list[dict[str, Any]] = []
    waiting = iter(messages)
    for message in waiting:
        rest = json.loads(message.parts) if message.parts else {}
        if message.role not in _NAMES:
            raise ValueError(
                f"role '{message.role}' has no name here; allowed: {', '.join(_NAMES)}"
            )
        name, value = rest.pop("from", written_name(message.role, keys)), message.content
        if "tool_calls" in rest:
            if value or rest.get("content") is not None:
                raise ValueError("a ShareGPT turn holds a text or tool calls, not both")
            calls, written = bare_calls(rest.pop("tool_calls")), rest.pop("value", None)
            rest.pop("content", None)
            before, own = _thought_and_calls(written) if isinstance(written, str) else ("", [])
            same = own == calls and before in ("", thought_of(message))
            if same and before:
                # They stand in the text.
                rest = {key: inner for key, inner in rest.items() if key not in KEYS}
            name, value = CALL, written if same else _call_text(calls)
        elif "content" in rest:
            raise ValueError("a ShareGPT turn holds plain text, no media parts")
        if message.role == "tool":
            # The order says which call it answers.
            for key in ("tool_call_id", "results"):
                rest.pop(key, None)
            if count := rest.pop("joined", 0):
                texts = [value, *(m.content for m in itertools.islice(waiting, count - 1))]
                written = rest.pop("value")
                same = listed(written) == texts
                value = written if same else json.dumps(texts, ensure_ascii=False)
        out.append({keys[0]: name, keys[1]: value, **rest})
    return out


def bare_calls(calls: Any) -> list[dict[str, Any]]:
    """Return OpenAI's tool calls as names and arguments."""
    out = []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ValueError("a tool call must have a function with a name")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = parse(arguments)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"a tool call's arguments are not JSON: {error}") from None
        if not isinstance(arguments, dict):
            raise ValueError("a tool call's arguments must be an object")
        out.append({"name": function["name"], "arguments": arguments})
    return out


SHAPES = (
    Shape(
        "sharegpt",
        "sft",
        __doc__ or "",
        tuple((name,) for name in _COLUMNS),
        detect,
        to_record,
        from_row,
        columns,
        to_columns,
    ),
)
