"""HH-RLHF transcripts: `chosen` and `rejected` texts of turns marked Human and Assistant.

Bai et al. 2022. The turns that both transcripts begin with are the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes.fields import extra_of, shared_turns, text_of, with_extra
from curate.row import Message, Record, Row

KIND = "preference"
_SIDES = ("chosen", "rejected")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}
_TURN = re.compile(r"\n\n(Human|Assistant):")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has two transcripts and no prompt."""
    sides = [data.get(name) for name in _SIDES]
    return "prompt" not in data and all(isinstance(s, str) and _TURN.match(s) for s in sides)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return both transcripts as a pair with its prompt."""
    chosen, rejected = (_turns(text_of(data, name), name) for name in _SIDES)
    count = shared_turns(chosen, rejected)
    fields = {"prompt": chosen[:count], "chosen": chosen[count:], "rejected": rejected[count:]}
    return Record(KIND, fields, extra_of(data, _SIDES))


def _turns(text: str, name: str) -> tuple[Message, ...]:
    before, *pieces = _TURN.split(text)
    if before or not pieces:
        raise ValueError(f"column '{name}' must begin with an empty line and 'Human:'")
    turns = tuple(
        Message(_ROLES[who], said.removeprefix(" "))
        for who, said in zip(pieces[::2], pieces[1::2], strict=True)
    )
    if _text(turns) != text:
        raise ValueError(f"column '{name}' has a turn without a space behind its colon")
    return turns


def _text(turns: Sequence[Message]) -> str:
    return "".join(f"\n\n{_NAMES[turn.role]}: {turn.content}" for turn in turns)


def from_row(row: Row) -> dict[str, Any]:
    """Return a pair of plain user and assistant turns as two transcripts."""
    out = {}
    for name in _SIDES:
        turns = row.prompt + row.fields[name]
        if any(turn.role not in _NAMES or turn.parts for turn in turns):
            raise ValueError("a transcript holds plain turns of user and assistant only")
        if any(_TURN.search(turn.content) for turn in turns):
            raise ValueError("a turn's text holds a line that would begin another turn")
        out[name] = _text(turns)
    lost = [name for name in ("margin", "p_chosen") if row.fields.get(name) is not None]
    if lost:
        raise ValueError(f"the shape has no column for '{lost[0]}'")
    return with_extra(out, row)
