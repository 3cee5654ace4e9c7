"""The row: one example on its way through a pipeline, and the names and ids of everything in it.

A row is a named tuple, so nothing can change it: a step that rewrites a row makes a new one. What a
row *is* (its kind and typed fields) decides its id; what it was called or where it lay does not, so
the same example has the same id in JSONL, Parquet and a list of dicts. The price is that ids are
made from canonical bytes and never from the raw line.
"""

from __future__ import annotations

import json
import random
import re
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import xxhash

On = Literal["instruction", "response", "whole"]

# The typed fields of every record kind, in the order in which ids hash and files hold them.
KINDS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "sft": ("messages",),
    "preference": ("prompt", "chosen", "rejected", "margin", "p_chosen"),
    "ranked": ("prompt", "candidates"),
    "unpaired": ("prompt", "completion", "label"),
}
FIELD_TYPES: dict[str, str] = {
    "prompt": "messages",
    "messages": "messages",
    "chosen": "messages",
    "rejected": "messages",
    "margin": "number",
    "p_chosen": "number",
    "candidates": "candidates",
    "completion": "messages",
    "label": "flag",
}
# Where `response` is read, and the fields whose turns make up `whole`.
RESPONSE_FIELD = {"sft": "messages", "preference": "chosen", "unpaired": "completion"}
WHOLE_FIELDS = {
    "prompt": ("prompt",),
    "sft": ("messages",),
    "preference": ("prompt", "chosen"),
    "ranked": ("prompt", "candidates"),
    "unpaired": ("prompt", "completion"),
}
# Keys of a turn, and columns of a file, in which media travel.
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
# Columns in which the tools stand that a model is offered.
TOOLS = ("tools", "functions")
_NOTHING = b"\xff" * 8
_ID = re.compile("[0-9a-f]{32}")


class Message(NamedTuple):
    """One turn. `parts` is JSON text with every key beside role and content (tools, media)."""

    role: str
    content: str
    parts: str | None = None

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """The turn's tool calls: names, and arguments as compact JSON with sorted keys."""
        rest = self._rest()
        listed = rest.get("tool_calls")
        found = list(listed) if isinstance(listed, list) else []
        found += [rest["function_call"]] if rest.get("function_call") else []
        return tuple(map(_call, found))

    @property
    def media(self) -> tuple[str, ...]:
        """What the turn carries that is neither text nor a tool call, each as compact JSON."""
        rest = self._rest()
        came = rest.get("content")
        found = [
            part
            for part in (came if isinstance(came, list) else ())
            if not (isinstance(part, dict) and isinstance(part.get("text"), str))
        ]
        found += [{key: rest[key]} for key in sorted(rest) if key in MEDIA and rest[key]]
        return tuple(map(_compact, found))

    @property
    def text(self) -> str:
        """The content, or where there is none the tool calls: a line `name(arguments)` for each."""
        if self.parts is None or self.content.strip():
            return self.content
        return "\n".join(f"{name}({args})" for name, args in self.calls) or self.content

    @property
    def attached(self) -> str:
        """Tool calls and media as one text, empty where there are none: what else is compared.

        The ids of calls are left out: two rows that call the same tool alike say the same.
        """
        said = (self.calls, self.media) if self.parts is not None else ((), ())
        return _compact(said) if any(said) else ""

    def _rest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.parts) if self.parts else {}
        return found


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _call(call: Any) -> tuple[str, str]:
    """Return a call's name and its arguments, in any of the forms that providers write."""
    inner = call
    if isinstance(call, dict):
        inner = next((call[key] for key in ("function", "custom") if key in call), call)
    if not isinstance(inner, dict):
        return "", _compact(inner)
    rest = {key: value for key, value in inner.items() if key not in ("id", "type", "name")}
    arguments: Any = next((rest[key] for key in ("arguments", "input") if key in rest), rest)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return str(inner.get("name") or ""), arguments
    return str(inner.get("name") or ""), _compact(arguments)


def _tools(value: Any) -> list[str]:
    """Return the tools that a column lists, as compact JSON: bare, or as OpenAI wraps them."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [value] if value.strip() else []
    found = value if isinstance(value, list) else [value] if value else []
    return [_compact(t.get("function", t) if isinstance(t, dict) else t) for t in found]


class Candidate(NamedTuple):
    """One answer of a `ranked` row, with its score and the model that wrote it, where known.

    `extra` is JSON text with what else is known of it (aspects, a rationale); no id depends on it.
    """

    messages: tuple[Message, ...]
    score: float | None = None
    model: str | None = None
    extra: str | None = None

    def with_extra(self, name: str, value: Any) -> Candidate:
        """Return it with one more thing known of it: `value`, as JSON data, under `name`.

        Raises:
            ValueError: something else is known by that name.
        """
        known = json.loads(self.extra or "{}")
        if name in known:
            raise ValueError(
                f"a candidate has '{name}' already, which would be lost; give this step a label of "
                "its own"
            )
        return self._replace(extra=json.dumps({**known, name: value}, ensure_ascii=False))


class Record(NamedTuple):
    """What a reader or a `Generate` makes: a kind and its typed fields, not yet a row.

    `parents` names the rows it was made from; `None` means the row (or rows) handed to the step.
    """

    kind: str
    fields: Mapping[str, Any]
    extra: str | None = None
    parents: tuple[str, ...] | None = None


class Row(NamedTuple):
    """One example: `id` is 32 hexadecimal digits, `seq` the order, `extra` and `notes` JSON."""

    id: str
    seq: tuple[int, ...]
    kind: str
    fields: Mapping[str, Any]
    source: str | None = None
    extra: str | None = None
    parents: tuple[str, ...] = ()
    scores: Mapping[str, float | None] = {}
    notes: str | None = None
    run_seed: int = 0

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The prompt's turns (every kind but `sft`)."""
        return self._turns("prompt")

    @property
    def messages(self) -> tuple[Message, ...]:
        """All turns of an `sft` row."""
        return self._turns("messages")

    @property
    def chosen(self) -> tuple[Message, ...]:
        """The preferred answer's turns."""
        return self._turns("chosen")

    @property
    def rejected(self) -> tuple[Message, ...]:
        """The other answer's turns."""
        return self._turns("rejected")

    @property
    def completion(self) -> tuple[Message, ...]:
        """The answer's turns of an `unpaired` row."""
        return self._turns("completion")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The answers of a `ranked` row."""
        found: tuple[Candidate, ...] = self._field("candidates")
        return found

    def _turns(self, name: str) -> tuple[Message, ...]:
        turns: tuple[Message, ...] = self._field(name)
        return turns

    def _field(self, name: str) -> Any:
        if name not in KINDS[self.kind]:
            allowed = ", ".join(KINDS[self.kind])
            raise AttributeError(f"a {self.kind} row has no field '{name}'; it has {allowed}")
        return self.fields[name]

    @property
    def instruction(self) -> str:
        """The text of the first user message, or an empty one."""
        turn = self._turn("instruction")
        return "" if turn is None else turn.text

    @property
    def response(self) -> str:
        """The text of the last assistant message (of completion or chosen answer), or none."""
        turn = self._turn("response")
        return "" if turn is None else turn.text

    @property
    def whole(self) -> str:
        """The texts of all turns, joined by newlines, without roles."""
        return "\n".join(turn.text for turn in self.turns("whole"))

    def attached(self, on: On) -> str:
        """Return the tool calls and media of the turns that `on` names, empty where none are.

        Media may also stand in a column of their own (`images`), whatever `on` is. The tools that a
        model is offered are part of what it is trained on: they belong to the whole row, in no
        order and in whatever form they are written.
        """
        said = [turn.attached for turn in self.turns(on) if turn.parts is not None]
        beside = (*MEDIA, *(TOOLS if on == "whole" else ()))
        if self.extra and any(f'"{name}"' in self.extra for name in beside):
            columns = json.loads(self.extra)
            media = {name: columns[name] for name in MEDIA if columns.get(name)}
            said.append(_compact(media) if media else "")
            offered = {
                tool for name in TOOLS if name in beside for tool in _tools(columns.get(name))
            }
            said.append(_compact({"tools": sorted(offered)}) if offered else "")
        return "\n".join(filter(None, said))

    def turns(self, on: On) -> tuple[Message, ...]:
        """Return the turns whose text `on` names."""
        if on == "whole":
            turns: list[Message] = []
            for name in WHOLE_FIELDS[self.kind]:
                if name == "candidates":
                    turns += (turn for one in self.candidates for turn in one.messages)
                else:
                    turns += self.fields[name]
            return tuple(turns)
        turn = self._turn(on)
        return () if turn is None else (turn,)

    def _turn(self, on: On) -> Message | None:
        """Return the first user message, or the last assistant message for the response."""
        if on == "instruction":
            turns, role = self.fields["messages" if self.kind == "sft" else "prompt"], "user"
        elif self.kind in RESPONSE_FIELD:
            turns, role = reversed(self.fields[RESPONSE_FIELD[self.kind]]), "assistant"
        else:
            return None
        for turn in turns:
            if turn.role == role:
                found: Message = turn
                return found
        return None

    def text(self, on: On) -> str:
        """Return the text that `on` names: instruction, response or whole."""
        if on == "response":
            return self.response
        return self.instruction if on == "instruction" else self.whole

    def rewrite(self, **fields: Any) -> Record:
        """Return a record of the same kind and extra columns with some fields replaced."""
        return Record(self.kind, {**self.fields, **fields}, self.extra)

    def random(self, label: str) -> random.Random:
        """Return the row's own generator for the step `label`, equal in every run of this seed."""
        return random.Random(seed_of(self.id, label, self.run_seed))


def check_record(record: Record) -> None:
    """Raise `TypeError` or `ValueError` when a made record lacks a field or holds a wrong value."""
    if record.kind not in KINDS:
        raise ValueError(f"unknown kind '{record.kind}'; allowed: {', '.join(KINDS)}")
    for name in record.fields:
        if name not in KINDS[record.kind]:
            allowed = ", ".join(KINDS[record.kind])
            raise ValueError(f"a {record.kind} record has no field '{name}'; it has {allowed}")
    for name in KINDS[record.kind]:
        value, type_ = record.fields.get(name), FIELD_TYPES[name]
        if type_ == "messages":
            _check_messages(name, value)
        elif type_ == "candidates":
            if not isinstance(value, list | tuple):
                raise TypeError(f"field '{name}' must be a list of candidates")
            for one in value:
                if not isinstance(one, Candidate):
                    found = type(one).__name__
                    raise TypeError(f"field '{name}' must hold Candidate, not {found}")
                _check_messages(name, one.messages)
                check_number(f"field '{name}': a score", one.score)
                if not isinstance(one.model, str | None):
                    raise TypeError(f"field '{name}': a model must be a string or None")
                (one.model or "").encode()
                _check_object(f"field '{name}': an extra", one.extra)
        elif type_ == "number":
            check_number(f"field '{name}'", value)
        elif not isinstance(value, bool | None):
            found = type(value).__name__
            raise TypeError(f"field '{name}' must be true, false or None, not {found}")
    _check_object("extra", record.extra)
    for parent in record.parents or ():
        check_id("a parent", parent)


def check_id(what: str, value: Any) -> None:
    """Raise `ValueError` when `value` is not a row id."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{what} must be a row's id, found {value!r}")


def check_number(what: str, value: Any) -> None:
    """Raise `TypeError` or `ValueError` when `value` is neither `None` nor a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"{what} must be a number or None, not {type(value).__name__}")
    # A whole number beyond a double's range is not a score either.
    if value is not None and not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{what} must be a finite number")


def _check_messages(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple):
        raise TypeError(f"field '{name}' must be a list of messages, not {type(value).__name__}")
    for message in value:
        if not isinstance(message, Message):
            raise TypeError(f"field '{name}' must hold Message, not {type(message).__name__}")
        for text in message:
            if not isinstance(text, str) and text is not None:
                raise TypeError(
                    f"field '{name}': a message holds a {type(text).__name__}, not text"
                )
        if message.role is None or message.content is None:
            raise ValueError(f"field '{name}': a message lacks its role or content")
        # A lone surrogate is not text that a file could hold.
        (message.role + message.content).encode()
        _check_object(f"field '{name}': a message's parts", message.parts)


def _check_object(what: str, text: Any) -> None:
    """Raise when `text` is neither `None` nor the JSON text of an object."""
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"{what} must be JSON text or None, not {type(text).__name__}")
    text.encode()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{what} must be the JSON text of an object: {error}") from error
    if not isinstance(found, dict):
        raise TypeError(f"{what} must be the JSON text of an object, not of a list or value")


def printable(text: str) -> str:
    """Return `text` with control characters escaped, so that data cannot drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seed_of(*parts: object) -> int:
    """Return a 64-bit seed that depends on all `parts` and on nothing else."""
    return xxhash.xxh3_64_intdigest("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"))


def canonical_bytes(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return the bytes that an id hashes: kind and typed fields, each behind its length.

    `chunk.content_digests` builds the same bytes for whole columns; a test holds them equal.
    """
    pieces = [kind.encode(), b"\0"]
    for name in KINDS[kind]:
        value, type_ = fields.get(name), FIELD_TYPES[name]
        if type_ == "messages":
            pieces.append(_messages_bytes(value or ()))
        elif type_ == "number":
            pieces.append(_number_bytes(value))
        elif type_ == "flag":
            pieces.append(b"\x02" if value is None else b"\x01" if value else b"\x00")
        else:
            value = value or ()
            pieces.append(struct.pack("<q", len(value)))
            pieces.extend(
                _messages_bytes(c.messages) + _number_bytes(c.score) + _text_bytes(c.model)
                for c in value
            )
    return b"".join(pieces)


def _text_bytes(text: str | None) -> bytes:
    if text is None:
        return _NOTHING
    data = text.encode()
    return struct.pack("<q", len(data)) + data


def _number_bytes(value: float | None) -> bytes:
    return _NOTHING + b"\0" if value is None else struct.pack("<d", value) + b"\1"


def _messages_bytes(messages: Sequence[Message]) -> bytes:
    turns = [b"".join((_text_bytes(m[0]), _text_bytes(m[1]), _text_bytes(m[2]))) for m in messages]
    return struct.pack("<q", len(turns)) + b"".join(turns)


# The 128-bit content hash that ids are made of (XXH3, seed 0), of bytes or a view of bytes.
digest = xxhash.xxh3_128_digest


def occurrence_id(content: bytes, occurrence: int) -> bytes:
    """Return the id of the `occurrence`-th row (from 0) among those with the digest `content`."""
    return digest(content + struct.pack("<q", occurrence)) if occurrence else content


def made_id(parents: Sequence[str], label: str, index: Sequence[int]) -> str:
    """Return the id of a made row: hash(parent ids, step label, index)."""
    text = json.dumps([list(parents), label, list(index)], ensure_ascii=True, separators=(",", ":"))
    return digest(text.encode()).hex()
