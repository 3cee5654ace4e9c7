"""LLaMA-Factory's preference data: ShareGPT turns, then a chosen and a rejected one.

Either side is one turn, or the text of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, kind_of, mark, only_turn, with_extra
from curate.read.shapes.shape import Shape
from curate.read.shapes.sharegpt import turns_from, turns_to
from curate.row import Message, Record, Row

_PROMPT, _SIDES = "conversations", ("chosen", "rejected")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a conversation and two single turns."""
    sides = {type(data.get(name)) for name in _SIDES}
    return sides in ({dict}, {str}) and isinstance(data.get(_PROMPT), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the conversation as the prompt of a pair."""
    prompt, keys = turns_from(data.get(_PROMPT), _PROMPT)
    dialect: dict[str, Any] = {} if keys[0] == "from" else {"keys": list(keys)}
    fields: dict[str, Any] = {"prompt": prompt}
    for name in _SIDES:
        side = data.get(name)
        if isinstance(side, str):
            fields[name] = (Message("assistant", side),)
            dialect["sides"] = "text"
        elif isinstance(side, Mapping):
            fields[name] = turns_from([side], name)[0]
        else:
            raise ValueError(f"column '{name}' must be a turn or a text, found {kind_of(side)}")
    marks = {"read_as": dialect} if dialect else {}
    extra = extra_of(data, (_PROMPT, *_SIDES), **marks)
    return Record("preference", {**fields, "margin": None, "p_chosen": None}, extra)


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as turns; each side must be a single one."""
    dialect = mark(row, "read_as")
    dialect = dialect if isinstance(dialect, dict) else {}
    keys = dialect.get("keys", ("from", "value"))
    out: dict[str, Any] = {_PROMPT: turns_to(row.prompt, keys)}
    for name in _SIDES:
        if len(row.fields[name]) != 1:
            count = len(row.fields[name])
            raise ValueError(f"the {name} side must be a single turn, and it has {count}")
        if dialect.get("sides") == "text":
            out[name] = only_turn(row.fields[name], "assistant")
        else:
            out[name] = turns_to(row.fields[name], keys)[0]
    lost = [name for name in ("margin", "p_chosen") if row.fields.get(name) is not None]
    if lost:
        raise ValueError(f"the shape has no column for '{lost[0]}'")
    return with_extra(out, row)


SHAPES = (
    Shape(
        "sharegpt_preference",
        "preference",
        __doc__ or "",
        ((_PROMPT, *_SIDES),),
        detect,
        to_record,
        from_row,
    ),
)
