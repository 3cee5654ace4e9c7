"""LLaMA-Factory's preference data: ShareGPT turns, then a chosen and a rejected one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, kind_of, with_extra
from curate.read.shapes.sharegpt import turns_from, turns_to
from curate.row import Record, Row

KIND = "preference"
_PROMPT, _SIDES = "conversations", ("chosen", "rejected")
SIGNATURE = ((_PROMPT, *_SIDES),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a conversation and two single turns."""
    sides = all(isinstance(data.get(name), Mapping) for name in _SIDES)
    return sides and isinstance(data.get(_PROMPT), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the conversation as the prompt of a pair."""
    for name in _SIDES:
        if not isinstance(data.get(name), Mapping):
            raise ValueError(f"column '{name}' must be a turn, found {kind_of(data.get(name))}")
    given = {_PROMPT: data.get(_PROMPT), **{name: [data[name]] for name in _SIDES}}
    fields = {name: turns_from(turns, name)[0] for name, turns in given.items()}
    sides = {"prompt": fields.pop(_PROMPT), **fields, "margin": None, "p_chosen": None}
    return Record(KIND, sides, extra_of(data, (_PROMPT, *_SIDES)))


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as turns; each side must be a single one."""
    out: dict[str, Any] = {_PROMPT: turns_to(row.prompt)}
    for name in _SIDES:
        if len(row.fields[name]) != 1:
            count = len(row.fields[name])
            raise ValueError(f"the {name} side must be a single turn, and it has {count}")
        out[name] = turns_to(row.fields[name])[0]
    lost = [name for name in ("margin", "p_chosen") if row.fields.get(name) is not None]
    if lost:
        raise ValueError(f"the shape has no column for '{lost[0]}'")
    return with_extra(out, row)
