"""OpenAI's preference fine-tuning: an input of messages, a preferred and another output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    extra_of,
    kind_of,
    mark,
    messages_of,
    turns_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

_SIDES = {"chosen": "preferred_output", "rejected": "non_preferred_output"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an input and two outputs."""
    return isinstance(data.get("input"), Mapping) and all(n in data for n in _SIDES.values())


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the input's messages as the prompt of a pair."""
    given = data.get("input")
    if not isinstance(given, Mapping):
        raise ValueError(f"column 'input' must be an object, found {kind_of(given)}")
    prompt = messages_of(given.get("messages"), "input.messages")
    sides = {name: messages_of(data.get(column), column) for name, column in _SIDES.items()}
    # Tools and the like stand beside the messages.
    rest = {key: value for key, value in given.items() if key != "messages"}
    marks = {"read_as": rest} if rest else {}
    fields = {"prompt": prompt, **sides, "margin": None, "p_chosen": None}
    return Record("preference", fields, extra_of(data, ("input", *_SIDES.values()), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair as an input and two outputs."""
    beside = mark(row, "read_as")
    beside = beside if isinstance(beside, dict) else {}
    out: dict[str, Any] = {"input": {"messages": turns_of(row.prompt), **beside}}
    out |= {column: turns_of(row.fields[name]) for name, column in _SIDES.items()}
    lost = [name for name in ("margin", "p_chosen") if row.fields.get(name) is not None]
    if lost:
        raise ValueError(f"the shape has no column for '{lost[0]}'")
    return with_extra(out, row)


SHAPES = (
    Shape(
        "openai_preference",
        "preference",
        __doc__ or "",
        (("input", *_SIDES.values()),),
        detect,
        to_record,
        from_row,
    ),
)
