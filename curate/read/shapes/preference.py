"""Preference pairs: `chosen` and `rejected`, with a prompt or one that both sides begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.fields import extra_columns, extra_of, number_of, plain_side, side_of
from curate.row import Message, Record, Row

KIND = "preference"
_NUMBERS = ("margin", "p_chosen")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a chosen and a rejected side, and is no transcript."""
    if "chosen" not in data or "rejected" not in data:
        return False
    chosen = data["chosen"]
    return not (isinstance(chosen, str) and "prompt" not in data)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the pair with an explicit prompt."""
    chosen, rejected = side_of(data, "chosen", "assistant"), side_of(data, "rejected", "assistant")
    marks: dict[str, Any] = {}
    if "prompt" in data and data["prompt"] is not None:
        prompt = side_of(data, "prompt", "user")
    else:
        shared = _shared(chosen, rejected)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        marks = {"implicit_prompt": True}
    fields = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    numbers = {name: number_of(data, name) for name in _NUMBERS}
    taken = ("prompt", "chosen", "rejected", *_NUMBERS)
    return Record(KIND, {**fields, **numbers}, extra_of(data, taken, **marks))


def _shared(one: tuple[Message, ...], two: tuple[Message, ...]) -> int:
    """Return how many turns both sides begin with; an answer of each is left over."""
    most = min(len(one), len(two)) - 1
    return next((i for i in range(most) if one[i] != two[i]), max(0, most))


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as it was read: texts where all sides are single plain turns."""
    extra = extra_columns(row)
    out: dict[str, Any]
    if extra.pop("implicit_prompt", False):
        from curate.read.shapes.fields import turns_of

        out = {n: turns_of(row.prompt + row.fields[n]) for n in ("chosen", "rejected")}
    else:
        roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
        sides = {name: plain_side(row.fields[name], role) for name, role in roles.items()}
        if not all(isinstance(side, str) for side in sides.values()):
            from curate.read.shapes.fields import turns_of

            sides = {name: turns_of(row.fields[name]) for name in roles}
        out = sides
    out |= {name: row.fields[name] for name in _NUMBERS if row.fields[name] is not None}
    return out | {k: v for k, v in extra.items() if k not in out}
