"""HH-RLHF transcripts: `chosen` and `rejected` texts of turns marked Human and Assistant.

Bai et al. 2022. The turns that both transcripts begin with are the prompt; copies with a `prompt`
column, which breaks off behind an open "Assistant:", are read the same. A text before the first
turn is a system prompt. How a transcript differs from the usual form is kept for the way back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes.record_fields import extra_of, mark, shared_turns, text_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_SIDES = ("chosen", "rejected")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}
_TURN = re.compile(r"(?:\n\n|\A)(Human|Assistant):")
_WITHIN = re.compile(r"\n\n(?:Human|Assistant):")
_OPEN = re.compile(r"(?:\n\n|\A)Assistant: ?\Z")
Turns = tuple[Message, ...]
# What is unusual: how the text begins (`begins`), and turns without a space (`unspaced`).
Form = dict[str, Any]


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has two transcripts, with no prompt or one that breaks off."""
    sides = [data.get(name) for name in _SIDES]
    if not all(isinstance(side, str) for side in sides):
        return False
    if "prompt" in data:
        return isinstance(data["prompt"], str) and bool(_OPEN.search(data["prompt"]))
    return all(_TURN.search(side) for side in sides if isinstance(side, str))


def to_record(data: Mapping[str, Any]) -> Record:
    """Return both transcripts as a pair with its prompt."""
    head = text_of(data, "prompt") if "prompt" in data else ""
    opened = _OPEN.search(head)
    if head and not opened:
        raise ValueError("column 'prompt' must end in an empty line and 'Assistant:'")
    read = {name: _turns(head + text_of(data, name), name) for name in _SIDES}
    chosen, rejected = (turns for turns, _ in read.values())
    count = len(_turns(head, "prompt")[0]) - 1 if head else shared_turns(chosen, rejected)
    fields = {"prompt": chosen[:count], "chosen": chosen[count:], "rejected": rejected[count:]}
    forms: Form = {name: form for name, (_, form) in read.items() if form}
    if opened:
        forms["open"] = opened[0]
    marks = {"read_as": forms} if forms else {}
    return Record("preference", fields, extra_of(data, ("prompt", *_SIDES), **marks))


def _turns(text: str, name: str) -> tuple[Turns, Form]:
    """Return the turns of a transcript, and what is unusual about its form."""
    before, *pieces = _TURN.split(text)
    if not pieces:
        raise ValueError(f"column '{name}' has no turn: an empty line and 'Human:' or 'Assistant:'")
    said = pieces[1::2]
    system = (Message("system", before),) if before.strip() else ()
    begins = text[: text.index(pieces[0], len(before))]
    spoken = tuple(
        Message(_ROLES[who], words.removeprefix(" "))
        for who, words in zip(pieces[::2], said, strict=True)
    )
    form: Form = {} if system or begins == "\n\n" else {"begins": begins}
    unspaced = [index for index, words in enumerate(said) if not words.startswith(" ")]
    return system + spoken, form | ({"unspaced": unspaced} if unspaced else {})


def _text(turns: Sequence[Message], form: Form) -> str:
    begins: str = form.get("begins", "\n\n")
    unspaced = form.get("unspaced", ())
    if turns and turns[0].role == "system":
        begins, turns = turns[0].content + "\n\n", turns[1:]
    spaces = [
        "" if index in unspaced and not turn.content.startswith(" ") else " "
        for index, turn in enumerate(turns)
    ]
    return begins + "\n\n".join(
        f"{_NAMES[turn.role]}:{space}{turn.content}"
        for turn, space in zip(turns, spaces, strict=True)
    )


def from_row(row: Row) -> dict[str, Any]:
    """Return a pair of plain turns of user and assistant as two transcripts."""
    forms = mark(row, "read_as")
    forms = forms if isinstance(forms, dict) else {}
    out = {}
    for name in _SIDES:
        turns = row.prompt + row.fields[name]
        _check(turns)
        out[name] = _text(turns, forms.get(name, {}))
    if opened := forms.get("open"):
        # A prompt that breaks off where the assistant answers, and what follows it on either side.
        asked = _text((*row.prompt, Message("assistant", "")), forms.get("chosen", {}))
        head = _OPEN.sub("", asked) + opened
        if not all(text.startswith(head) for text in out.values()):
            raise ValueError("its prompt must break off where the assistant answers, on both sides")
        out = {"prompt": head, **{name: text[len(head) :] for name, text in out.items()}}
    lost = [name for name in ("margin", "p_chosen") if row.fields.get(name) is not None]
    if lost:
        raise ValueError(f"the shape has no column for '{lost[0]}'")
    return with_extra(out, row)


def _check(turns: Sequence[Message]) -> None:
    lead = turns[0].content if turns and turns[0].role == "system" else None
    spoken = turns if lead is None else turns[1:]
    if any(turn.role not in _NAMES for turn in spoken) or any(turn.parts for turn in turns):
        raise ValueError("a transcript holds plain turns of user and assistant only")
    if any(_WITHIN.search(turn.content) for turn in spoken) or (lead and _TURN.search(lead)):
        raise ValueError("a turn's text holds a line that would begin another turn")
    if lead is not None and not (lead.strip() and spoken):
        raise ValueError("a system prompt needs a text, and a turn behind it")


def is_transcript(text: str) -> bool:
    """Tell whether a text holds a turn of a transcript."""
    return bool(_TURN.search(text))


def opened_turns(text: str) -> Turns | None:
    """Return the turns of a transcript that breaks off where the assistant answers."""
    opened = _OPEN.search(text)
    return _turns(text[: opened.start()], "prompt")[0] if opened and _TURN.search(text) else None


def opened_text(turns: Sequence[Message]) -> str:
    """Return turns as a transcript that breaks off where the assistant answers."""
    _check(turns)
    return _text((*turns, Message("assistant", "")), {})


SHAPES = (Shape("hh", "preference", __doc__ or "", (_SIDES,), detect, to_record, from_row),)
