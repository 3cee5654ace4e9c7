"""Open Instruct's records for RLVR: `messages`, `ground_truth`, and the verifier as `dataset`.

Its tokenizer takes a single message for the prompt, and of several all but the last one: so a
prompt of several turns is written with an empty turn of the assistant's behind it. Its verifiers
`gsm8k` and `math` are what `number` and `math` are here; another name is one that its user adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import dumps, listed, messages_of, turns_of
from curate.read.shapes.shape import Shape
from curate.read.shapes.verified.gold import GOLD, VERIFIER, gold_in, verified_by
from curate.row import Message, Record, Row

_THEIRS = {"number": "gsm8k", "math": "math"}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}
_NOTHING = Message("assistant", "")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a prompt with gold: its last message asks, or is an empty answer."""
    turns = listed(data.get("messages"))
    if not isinstance(turns, list) or not turns or not isinstance(turns[-1], Mapping):
        return False
    if not isinstance(data.get("dataset"), str) or data.get(GOLD) is None:
        return False
    if turns[-1].get("role") == "assistant":
        return len(turns) > 2 and not turns[-1].get("content")
    return len(turns) == 1


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a prompt with its gold answer and checker."""
    messages = messages_of(data.get("messages"), "messages")
    if len(messages) > 1:
        messages = messages[:-1]
    columns = {name: value for name, value in data.items() if name != "messages"}
    for name in (GOLD, "dataset"):
        if name not in columns:
            raise ValueError(f"column '{name}' is missing")
    theirs = columns.pop("dataset")
    columns[GOLD] = gold_in(columns[GOLD])
    # Beside rows whose checker has options, tables have a null for those without.
    if columns.get(VERIFIER) is None:
        columns[VERIFIER] = _OURS.get(theirs, theirs)
    return Record("prompt", {"prompt": messages}, dumps(columns))


def from_row(row: Row) -> dict[str, Any]:
    """Return a prompt in Open Instruct's columns; what else it has goes along."""
    found = verified_by(row)
    for name in ("messages", "dataset"):
        if name in found.rest:
            raise ValueError(f"its extra column '{name}' would be lost: the shape has one as well")
    turns = row.prompt if len(row.prompt) == 1 else (*row.prompt, _NOTHING)
    # Options have no place in a verifier's name.
    beside = {} if found.verifier == found.checker else {VERIFIER: found.verifier}
    return {
        "messages": turns_of(turns),
        GOLD: found.gold_text,
        "dataset": _THEIRS.get(found.checker, found.checker),
        **beside,
        **found.rest,
    }


SHAPES = (
    Shape(
        "open_instruct",
        "prompt",
        __doc__ or "",
        (("messages", GOLD, "dataset"),),
        detect,
        to_record,
        from_row,
    ),
)
