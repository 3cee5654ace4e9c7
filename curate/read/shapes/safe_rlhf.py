"""PKU-SafeRLHF: two responses to a prompt, and which of them is the better one.

Ji et al. 2023. The verdict is `better_response_id`, or else `safer_response_id`; it comes back with
the other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    extra_columns,
    extra_of,
    kind_of,
    only_turn,
    text_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_ANSWERS = ("response_0", "response_1")
_VERDICTS = ("better_response_id", "safer_response_id")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt, two responses and a verdict."""
    return any(name in data for name in _VERDICTS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the better response as the chosen one."""
    better = _better(data)
    sides = [(Message("assistant", text_of(data, name)),) for name in _ANSWERS]
    pair = {"chosen": sides[better], "rejected": sides[1 - better]}
    prompt = (Message("user", text_of(data, "prompt")),)
    fields = {"prompt": prompt, **pair, "margin": None, "p_chosen": None}
    return Record("preference", fields, extra_of(data, ("prompt", *_ANSWERS)))


def _better(data: Mapping[str, Any]) -> int:
    found = next((data[name] for name in _VERDICTS if data.get(name) is not None), None)
    if isinstance(found, bool) or found not in (0, 1):
        raise ValueError(f"column '{_VERDICTS[0]}' must be 0 or 1, found {kind_of(found)}")
    return int(found)


def from_row(row: Row) -> dict[str, Any]:
    """Return the pair in the order that its verdict tells."""
    if row.fields.get("margin") is not None or row.fields.get("p_chosen") is not None:
        raise ValueError("the shape has no column for a margin or `p_chosen`")
    sides = [only_turn(row.fields[name], "assistant") for name in ("chosen", "rejected")]
    extra = extra_columns(row)
    if not any(name in extra for name in _VERDICTS):
        extra[_VERDICTS[0]] = 0
    if _better(extra):
        sides.reverse()
    data = {"prompt": only_turn(row.prompt, "user"), **dict(zip(_ANSWERS, sides, strict=True))}
    return with_extra(data, row) | {n: extra[n] for n in _VERDICTS if n in extra}


SHAPES = (
    Shape(
        "safe_rlhf",
        "preference",
        __doc__ or "",
        (("prompt", *_ANSWERS),),
        detect,
        to_record,
        from_row,
    ),
)
