"""What all shapes share: texts and messages taken out of data, extra columns put back."""

from __future__ import annotations

import base64
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.strict_json import parse
from curate.row import Message, Row

# What readers leave in `extra` for the way back. No column of a file may be called so.
MARKS = (
    *("input_chars", "rationale_chars", "implicit_prompt", "completion_turns", "read_as"),
    *("system_column", "label_as", "instance_as", "prompt_as"),
)
# The columns of a row that a model's chat template reads.
TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")
# What a template is given by whoever renders it, and what transformers takes beside that.
_RESERVED = (
    *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message"),
    *("conversation", "chat_template", "tokenize", "padding", "truncation", "max_length"),
    *("return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
    *("bos_token", "eos_token", "pad_token", "unk_token"),
)


def extra_of(data: Mapping[str, Any], taken: Sequence[str], **marks: Any) -> str | None:
    """Return every column that is not `taken` (and `marks`) as compact JSON, or `None`."""
    names = [name for name in data if name not in taken]
    if not names and not marks:
        return None
    for name in MARKS:
        if name in names:
            raise ValueError(f"column '{name}' has a name that readers use themselves; rename it")
    try:
        return dumps({name: data[name] for name in names} | marks)
    except ValueError as error:
        raise ValueError(f"{_guilty(data, names)}{error}") from error


def _guilty(data: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return which of some columns cannot be written as JSON, as the beginning of a message."""
    for name in names:
        try:
            dumps(data[name])
        except ValueError:
            return f"column '{name}': "
    return ""


def dumps(value: Any) -> str:
    """Return compact JSON text; dates and decimals become text, bytes base64, NaN null.

    Raises:
        ValueError: a number is infinite.
    """
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(plain(value))


def shown(value: Any) -> str:
    """Return a value as JSON text even where it holds an infinite number: to hash or to show it."""
    try:
        return dumps(value)
    except ValueError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else str(value)


# Python neither writes nor reads a whole number of more digits.
_TOO_LONG = 10**4300
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def plain(value: Any) -> Any:
    """Return a value from a data frame as JSON data: arrays as lists, what is missing as null."""
    if isinstance(value, str | None):
        return value
    if isinstance(value, int):
        if not -_TOO_LONG < value < _TOO_LONG:
            raise ValueError("a whole number has more than 4,300 digits; write it as a text")
        return value
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), "")
        if wrong != "":
            raise ValueError(f"the name of a column is {wrong!r:.40}; it must be a string")
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError("infinity is not a JSON number; write null or a number")
        return None if math.isnan(value) else value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    # pandas marks missing dates and values by objects of their own.
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def text_of(data: Mapping[str, Any], name: str) -> str:
    """Return the text in column `name`."""
    if name not in data:
        raise ValueError(f"column '{name}' is missing")
    value = data[name]
    if not isinstance(value, str):
        raise ValueError(f"column '{name}' must be a string, found {kind_of(value)}")
    return value


def number_of(data: Mapping[str, Any], name: str) -> float | None:
    """Return the number in column `name`, `None` where it is absent or null."""
    value = data.get(name)
    # A table's missing number.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"column '{name}' must be a number, found {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"column '{name}' holds a number out of range") from None
    if math.isinf(number):
        raise ValueError(f"column '{name}': infinity is not a JSON number; write null or a number")
    if number != value:
        raise ValueError(f"column '{name}' holds {value}, which no float64 holds exactly")
    return number


def listed(value: Any) -> Any:
    """Return the list that a text holds as JSON, or the value itself: tables often hold such."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            found = parse(value)
            return found if isinstance(found, list) else value
    return value


def messages_of(value: Any, name: str) -> tuple[Message, ...]:
    """Return a list of chat messages; unknown keys and parts travel as JSON beside the text.

    A key that is null says the same as no key: tables give every message the keys of all others.
    """
    value = listed(value)
    if not isinstance(value, list) or not value:
        raise ValueError(f"column '{name}' must be a list of messages, found {kind_of(value)}")
    messages = []
    for index, turn in enumerate(value):
        where = f"{name}[{index}]"
        if not isinstance(turn, Mapping):
            raise ValueError(f"{where} must be a message (role and content), found {kind_of(turn)}")
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(role, str):
            raise ValueError(f"{where}.role must be a string, found {kind_of(role)}")
        rest = {key: value for key, value in turn.items() if key not in ("role", "content")}
        rest = {key: value for key, value in rest.items() if value is not None}
        if isinstance(content, str):
            message = Message(role, content, dumps(rest) if rest else None)
        elif content is None and rest:
            message = Message(role, "", dumps({"content": None, **rest}))
        elif isinstance(content, list):
            message = Message(role, _text_in(content), dumps({"content": content, **rest}))
        else:
            found = kind_of(content)
            raise ValueError(f"{where}.content must be a string or a list of parts, found {found}")
        messages.append(message)
    return tuple(messages)


def _text_in(parts: Sequence[Any]) -> str:
    """Return the text of a content that is a list of parts, a line for each text part."""
    return "\n".join(part["text"] for part in parts if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)


def turns_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat data, as `messages_of` read them; nothing masked comes back."""
    out: list[dict[str, Any]] = []
    for message in messages:
        rest = json.loads(message.parts) if message.parts else {}
        content: Any = message.content
        if "content" in rest:
            came = rest.pop("content")
            if came is None:
                content = content or None
            elif _text_in(came) == content:
                content = came
            else:
                # A step rewrote the text: it takes the place of the text parts, media parts stay.
                media = (part for part in came if not _is_text(part))
                content = [{"type": "text", "text": content}, *media]
        out.append({"role": message.role, "content": content, **rest})
    return out


def shared_turns(one: Sequence[Message], two: Sequence[Message]) -> int:
    """Return how many turns both sides begin with; an answer of each is left over."""
    most = min(len(one), len(two)) - 1
    return next((i for i in range(most) if one[i] != two[i]), max(0, most))


def only_turn(messages: Sequence[Message], role: str) -> str:
    """Return the text of a side that is a single plain turn of `role`."""
    text = plain_side(messages, role)
    if not isinstance(text, str):
        raise ValueError(f"this shape holds a single plain {role} turn here, not {len(messages)}")
    return text


def side_of(data: Mapping[str, Any], name: str, role: str) -> tuple[Message, ...]:
    """Return a prompt or answer that may be a text (one turn of `role`) or a list of messages."""
    if isinstance(data.get(name), str):
        return (Message(role, data[name]),)
    if name not in data:
        raise ValueError(f"column '{name}' is missing")
    if not isinstance(data[name], list):
        found = kind_of(data[name])
        raise ValueError(f"column '{name}' must be a string or a list of messages, found {found}")
    return messages_of(data[name], name)


def sides_of(
    data: Mapping[str, Any], roles: Mapping[str, str]
) -> tuple[dict[str, tuple[Message, ...]], dict[str, Any]]:
    """Return columns that are all texts or all lists of messages, and the mark that tells which."""
    texts = [name for name in roles if isinstance(data.get(name), str)]
    lists = [name for name in roles if isinstance(data.get(name), list)]
    if texts and lists:
        raise ValueError(
            f"columns '{texts[0]}' (a text) and '{lists[0]}' (a list) differ in form; "
            "write texts or lists of messages in both"
        )
    sides = {name: side_of(data, name, role) for name, role in roles.items()}
    return sides, {"read_as": "text"} if texts else {}


def sides_from(row: Row, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return fields as texts where they were read so and still are; as messages else.

    A file must not mix the two: Parquet and `datasets` hold one type in a column.
    """
    plain = {name: plain_side(row.fields[name], role) for name, role in roles.items()}
    if mark(row, "read_as") == "text" and all(isinstance(side, str) for side in plain.values()):
        return plain
    return {name: turns_of(row.fields[name]) for name in roles}


def plain_side(messages: Sequence[Message], role: str) -> Any:
    """Return a side as it is written: the text of a single plain turn, else the messages."""
    if len(messages) == 1 and messages[0].role == role and messages[0].parts is None:
        return messages[0].content
    return turns_of(messages)


def judged(row: Row) -> tuple[float | str | None, ...]:
    """Return the scores of a row's candidates, then their models."""
    return (*(c.score for c in row.candidates), *(c.model for c in row.candidates))


def extra_columns(row: Row) -> dict[str, Any]:
    """Return the row's extra columns, without the marks that shapes leave for themselves."""
    extra = json.loads(row.extra) if row.extra else {}
    return {key: value for key, value in extra.items() if key not in MARKS}


def mark(row: Row, name: str) -> Any:
    """Return what a reader left in `extra` under `name`, or `None`."""
    return json.loads(row.extra).get(name) if row.extra else None


def with_mark(extra: str | None, name: str, value: Any) -> str:
    """Return `extra` with one mark more."""
    return dumps({**(json.loads(extra) if extra else {}), name: value})


def system_column_of(row: Row) -> str | None:
    """Return the column from which a row's system prompt was read, if it was one."""
    if not row.extra or '"system' not in row.extra:
        return None
    marks = json.loads(row.extra)
    read_as = marks.get("read_as")
    # Rows of earlier versions say so among what their shape marks.
    before = isinstance(read_as, dict) and read_as.get("system") is True
    name = marks.get("system_column", "system" if before else None)
    return name if isinstance(name, str) else None


def with_extra(data: dict[str, Any], row: Row) -> dict[str, Any]:
    """Return `data` with the row's extra columns behind it."""
    extra = extra_columns(row)
    for name in extra:
        if name in data:
            raise ValueError(f"its extra column '{name}' would be lost: the shape has one as well")
    return data | extra


def kind_of(value: Any) -> str:
    """Say in a word or two what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


def without_nulls(value: Any) -> Any:
    """Return JSON data without keys that are null, which tables give to every row."""
    if isinstance(value, Mapping):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def rendering_options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row's extra columns give its template: `tools` and `chat_template_kwargs`.

    Both may be JSON text, as in CSV files.

    Raises:
        ValueError: a column is not JSON, or `chat_template_kwargs` is not a mapping, or has a
            name that is not its own.
    """
    tools, options = (
        json.loads(value.strip() or "null") if isinstance(value, str) else value
        for value in (extra.get(name) for name in TEMPLATE_COLUMNS)
    )
    if options and not isinstance(options, Mapping):
        raise ValueError(f"chat_template_kwargs must be an object, found {kind_of(options)}")
    options = dict(without_nulls(options or {}))
    if taken := [name for name in options if name in _RESERVED]:
        raise ValueError(
            f"chat_template_kwargs names '{taken[0]}', which the template gets from the row or the "
            "tokenizer; leave it out (tools have a column of their own)"
        )
    return {**options, "tools": without_nulls(tools)} if tools else options
