"""LLaMA-Factory's KTO data: ShareGPT turns, and in `kto_tag` whether the last answer is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, kind_of, mark, with_extra
from curate.read.shapes.shape import Shape
from curate.read.shapes.sharegpt import turns_from, turns_to
from curate.row import Record, Row

_TURNS, _TAG = "conversations", "kto_tag"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a conversation and a tag that is true or false."""
    return isinstance(data.get(_TAG), bool) and isinstance(data.get(_TURNS), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the last turn as the completion of those before it.

    Raises:
        ValueError: the tag is neither true nor false, or the last turn is not an assistant's.
    """
    tag = data.get(_TAG)
    if not isinstance(tag, bool):
        raise ValueError(f"column '{_TAG}' must be true or false, found {kind_of(tag)}")
    turns, keys = turns_from(data.get(_TURNS), _TURNS)
    if not turns or turns[-1].role != "assistant":
        raise ValueError(f"{_TURNS} must end with an assistant's turn, which '{_TAG}' judges")
    marks: dict[str, Any] = {} if keys[0] == "from" else {"read_as": {"keys": list(keys)}}
    fields = {"prompt": turns[:-1], "completion": turns[-1:], "label": tag}
    return Record("unpaired", fields, extra_of(data, (_TURNS, _TAG), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return the turns and the tag; the completion must be a single assistant's turn."""
    completion = row.fields["completion"]
    if len(completion) != 1 or completion[0].role != "assistant":
        raise ValueError("the completion must be a single assistant's turn")
    dialect = mark(row, "read_as")
    dialect = dialect if isinstance(dialect, dict) else {}
    turns = turns_to(row.prompt + completion, dialect.get("keys", ("from", "value")))
    return with_extra({_TURNS: turns, _TAG: row.fields["label"]}, row)


SHAPES = (
    Shape(
        "sharegpt_kto",
        "unpaired",
        __doc__ or "",
        ((_TURNS, _TAG),),
        detect,
        to_record,
        from_row,
    ),
)
