"""Preference pairs: `chosen` and `rejected`, with a prompt or one that both sides begin with.

Two texts without a prompt begin with it as well (TRL's implicit prompt): the words that both begin
with, as far as an answer of each is left over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes import hh
from curate.read.shapes.record_fields import (
    extra_of,
    mark,
    messages_of,
    number_of,
    only_turn,
    shared_turns,
    sides_from,
    sides_of,
    turns_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
_SIDES = ("chosen", "rejected")
_NUMBERS = ("margin", "p_chosen")
# Where a prompt stands that is not called so: such pairs have shapes of their own.
_ASKING_COLUMNS = ("question", "instruction", "input", "conversations")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a chosen and a rejected side, and is not a transcript."""
    sides = [data.get(name) for name in _SIDES]
    if "prompt" in data:
        return all(isinstance(side, str | list) for side in sides) and not hh.detect(data)
    if any(name in data for name in _ASKING_COLUMNS):
        return False
    texts = all(isinstance(side, str) and not hh.is_transcript(side) for side in sides)
    return texts or all(isinstance(side, list) for side in sides)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the pair with an explicit prompt."""
    if "prompt" in data and not _is_binarized(data):
        sides, marks = sides_of(data, _ROLES)
    elif all(isinstance(data.get(name), str) for name in _SIDES):
        chosen, rejected = (data[name] for name in _SIDES)
        pairs = enumerate(zip(chosen, rejected, strict=False))
        alike = next((i for i, (a, b) in pairs if a != b), min(len(chosen), len(rejected)))
        # Where one text is the beginning of the other, its last word is still the answer.
        alike = min(alike, len(chosen.rstrip()) - 1, len(rejected.rstrip()) - 1)
        # The answers begin with the space before a word.
        at = max((m.start() for m in re.finditer(r"\s+\S", chosen[: alike + 1])), default=0)
        at = at if chosen[:at].strip() else 0
        sides = {"prompt": (Message("user", chosen[:at]),) if at else ()}
        sides |= {name: (Message("assistant", data[name][at:]),) for name in _SIDES}
        marks = {"implicit_prompt": "text"}
    else:
        whole = {name: messages_of(data.get(name), name) for name in _SIDES}
        count = shared_turns(*whole.values())
        sides = {"prompt": whole["chosen"][:count], **{n: s[count:] for n, s in whole.items()}}
        marks = {"implicit_prompt": "repeated" if "prompt" in data else True}
    numbers = {name: number_of(data, name) for name in _NUMBERS}
    return Record("preference", {**sides, **numbers}, extra_of(data, (*_ROLES, *_NUMBERS), **marks))


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
    """Return the place of the first turn that is not a system prompt."""
    first = turns[0]
    role = first.get("role") if isinstance(first, Mapping) else getattr(first, "role", None)
    return int(role == "system" and len(turns) > 1)


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as it was read: texts where all sides are single plain turns."""
    out: dict[str, Any]
    implicit = mark(row, "implicit_prompt")
    # Sides that do not begin alike have no prompt, and an empty one could not be read.
    if implicit == "text":
        texts = [m.content for m in row.prompt]
        out = {n: "".join([*texts, only_turn(row.fields[n], "assistant")]) for n in _SIDES}
    elif implicit or not row.prompt:
        out = {name: turns_of(row.prompt + row.fields[name]) for name in _SIDES}
        if implicit == "repeated" and row.prompt:
            out["prompt"] = row.prompt[_asking(row.prompt)].content
    else:
        out = sides_from(row, _ROLES)
    numbers = {n: row.fields[n] for n in _NUMBERS if row.fields.get(n) is not None}
    return with_extra(out | numbers, row)


SHAPES = (Shape("preference", "preference", __doc__ or "", (_SIDES,), detect, to_record, from_row),)
