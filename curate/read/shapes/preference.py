"""Preference pairs: `chosen` and `rejected`, with a prompt or one that both sides begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes import hh
from curate.read.shapes.record_fields import (
    extra_of,
    mark,
    messages_of,
    number_of,
    shared_turns,
    sides_from,
    sides_of,
    turns_of,
    with_extra,
)
from curate.row import Message, Record, Row

KIND = "preference"
_ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
_SIDES = ("chosen", "rejected")
_NUMBERS = ("margin", "p_chosen")
SIGNATURE = (_SIDES,)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a chosen and a rejected side, and is no transcript."""
    sides = [data.get(name) for name in _SIDES]
    if "prompt" in data:
        return all(isinstance(side, str | list) for side in sides) and not hh.detect(data)
    return all(isinstance(side, list) for side in sides)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the pair with an explicit prompt."""
    if "prompt" in data and not _is_binarized(data):
        sides, marks = sides_of(data, _ROLES)
    else:
        sides = _parted(data)
        marks = {"implicit_prompt": "repeated" if "prompt" in data else True}
    numbers = {name: number_of(data, name) for name in _NUMBERS}
    return Record(KIND, {**sides, **numbers}, extra_of(data, (*_ROLES, *_NUMBERS), **marks))


def _parted(data: Mapping[str, Any]) -> dict[str, tuple[Message, ...]]:
    """Return prompt and answers of two conversations that begin alike."""
    sides = {name: messages_of(data.get(name), name) for name in _SIDES}
    count = shared_turns(*sides.values())
    prompt = sides["chosen"][:count]
    return {"prompt": prompt, **{name: side[count:] for name, side in sides.items()}}


def _is_binarized(data: Mapping[str, Any]) -> bool:
    """Tell whether a prompt only repeats what both sides ask first (UltraFeedback binarized)."""
    sides = [data.get(name) for name in _SIDES]
    return all(
        isinstance(side, list)
        and len(side) > 1
        and isinstance(turn := side[_asking(side)], Mapping)
        and turn.get("content") == data["prompt"]
        for side in sides
    )


def _asking(turns: Sequence[Any]) -> int:
    """Return the place of the first turn that is no system prompt."""
    first = turns[0]
    role = first.get("role") if isinstance(first, Mapping) else getattr(first, "role", None)
    return int(role == "system" and len(turns) > 1)


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as it was read: texts where all sides are single plain turns."""
    out: dict[str, Any]
    implicit = mark(row, "implicit_prompt")
    # Sides that do not begin alike have no prompt, and an empty one could not be read.
    if implicit or not row.prompt:
        out = {name: turns_of(row.prompt + row.fields[name]) for name in _SIDES}
        if implicit == "repeated" and row.prompt:
            out["prompt"] = row.prompt[_asking(row.prompt)].content
    else:
        out = sides_from(row, _ROLES)
    numbers = {n: row.fields[n] for n in _NUMBERS if row.fields.get(n) is not None}
    return with_extra(out | numbers, row)
