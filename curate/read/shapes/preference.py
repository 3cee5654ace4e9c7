"""Preference pairs: `chosen` and `rejected`, with a prompt or one that both sides begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import (
    extra_of,
    mark,
    number_of,
    sides_from,
    sides_of,
    turns_of,
    with_extra,
)
from curate.row import Message, Record, Row

KIND = "preference"
_ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
_NUMBERS = ("margin", "p_chosen")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a chosen and a rejected side, and is no transcript."""
    if "chosen" not in data or "rejected" not in data:
        return False
    chosen = data["chosen"]
    return not (isinstance(chosen, str) and "prompt" not in data)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the pair with an explicit prompt."""
    marks: dict[str, Any] = {}
    if "prompt" in data:
        sides, _ = sides_of(data, _ROLES)
    else:
        sides, _ = sides_of(data, {name: "assistant" for name in ("chosen", "rejected")})
        shared = _shared(sides["chosen"], sides["rejected"])
        prompt = sides["chosen"][:shared]
        sides = {"prompt": prompt, **{name: side[shared:] for name, side in sides.items()}}
        marks = {"implicit_prompt": True}
    numbers = {name: number_of(data, name) for name in _NUMBERS}
    return Record(KIND, {**sides, **numbers}, extra_of(data, (*_ROLES, *_NUMBERS), **marks))


def _shared(one: tuple[Message, ...], two: tuple[Message, ...]) -> int:
    """Return how many turns both sides begin with; an answer of each is left over."""
    most = min(len(one), len(two)) - 1
    return next((i for i in range(most) if one[i] != two[i]), max(0, most))


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as it was read: texts where all sides are single plain turns."""
    out: dict[str, Any]
    if mark(row, "implicit_prompt"):
        out = {name: turns_of(row.prompt + row.fields[name]) for name in ("chosen", "rejected")}
    else:
        out = dict(sides_from(row, _ROLES))
    numbers = {n: row.fields[n] for n in _NUMBERS if row.fields.get(n) is not None}
    return with_extra(out | numbers, row)
