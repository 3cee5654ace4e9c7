"""ShareGPT conversations and their dialects, as Vicuna, LLaMA-Factory and Axolotl read them.

The turns stand in `conversations` (or `conversation`, `items`, `messages`), as `from` and `value`
(or `role` and `content`), between human and gpt (or other names); a system prompt may stand in a
column of its own. What differs from the plain dialect is marked, on row or turn, for the way back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.read.shapes.record_fields import dumps, extra_of, kind_of, mark, with_extra
from curate.read.shapes.turns import turn_lists
from curate.row import Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "sft"
# Where there is such a column, whole columns are not enough.
CLOSER = ("system",)
_COLUMNS = ("conversations", "conversation", "items", "messages")
_KEYS = (("from", "value"), ("role", "content"))
# The first name of a role is the one that is written.
_NAMES = {
    "user": ("human", "user", "prompter"),
    "assistant": ("gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"),
    "system": ("system",),
    "tool": ("observation", "tool", "function", "function_response"),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}
SIGNATURE = tuple((name,) for name in _COLUMNS)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a list of turns in one of the columns."""
    column = _column(data)
    turns = data.get(column) if column else None
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
    taken = [column]
    system = data.get("system")
    if isinstance(system, str) and system:
        messages = (Message("system", system), *messages)
        dialect["system"] = True
        taken.append("system")
    marks = {"read_as": dialect} if dialect else {}
    return Record(KIND, {"messages": messages}, extra_of(data, taken, **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the conversation in the dialect that it was read from."""
    dialect = mark(row, "read_as")
    dialect = dialect if isinstance(dialect, dict) else {}
    messages = row.messages
    out: dict[str, Any] = {}
    if dialect.get("system") and messages and messages[0].role == "system":
        if messages[0].parts:
            raise ValueError("a system column holds plain text only")
        out["system"], messages = messages[0].content, messages[1:]
    keys = dialect.get("keys", _KEYS[0])
    out[dialect.get("column", _COLUMNS[0])] = turns_to(messages, keys)
    return with_extra(out, row)


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
    known = pc.index_in(turns.names, pa.array(_ROLES))
    if known.null_count:
        return None
    roles = pa.array(_ROLES.values()).take(known)
    parts = [None if n == _NAMES[r][0] else dumps({"from": n}) for n, r in _ROLES.items()]
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
    """Return a list of turns as messages, and the keys that it uses."""
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"column '{column}' must be a list of turns, found {kind_of(turns)}")
    keys = _keys(turns[0])
    if keys is None:
        raise ValueError(f"{column}[0] must have 'from' and 'value', or 'role' and 'content'")
    return tuple(_message(turn, keys, f"{column}[{i}]") for i, turn in enumerate(turns)), keys


def _message(turn: Any, keys: tuple[str, str], where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} must be a turn, found {kind_of(turn)}")
    name, value = (turn.get(key) for key in keys)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        found = f"'{name}'" if isinstance(name, str) else kind_of(name)
        raise ValueError(f"{where}.{keys[0]} must be one of {', '.join(_ROLES)}, found {found}")
    if not isinstance(value, str):
        raise ValueError(f"{where}.{keys[1]} must be a text, found {kind_of(value)}")
    rest = {k: v for k, v in turn.items() if k not in keys and v is not None}
    twice = next((key for key in ("from", "role", "content") if key in rest), None)
    if twice is not None:
        raise ValueError(
            f"{where} has '{twice}' beside '{keys[0]}' and '{keys[1]}'; leave one of them out"
        )
    if name != written_name(role, keys):
        rest["from"] = name
    return Message(role, value, dumps(rest) if rest else None)


def written_name(role: str, keys: Sequence[str]) -> str:
    """Return how a role is called: as in OpenAI's chats beside 'role', as ShareGPT does else."""
    return role if keys[0] == "role" else _NAMES[role][0]


def turns_to(messages: Sequence[Message], keys: Sequence[str] = _KEYS[0]) -> list[dict[str, Any]]:
    """Return messages as turns; content that is more than text has none."""
    out = []
    for message in messages:
        rest = json.loads(message.parts) if message.parts else {}
        if "content" in rest or "tool_calls" in rest:
            raise ValueError("a ShareGPT turn holds plain text, no media parts and no tool calls")
        if message.role not in _NAMES:
            raise ValueError(
                f"role '{message.role}' has no name here; allowed: {', '.join(_NAMES)}"
            )
        name = rest.pop("from", written_name(message.role, keys))
        out.append({keys[0]: name, keys[1]: message.content, **rest})
    return out
