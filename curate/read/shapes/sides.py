"""The forms that a part of a record can have: a text, or a list of turns of one sort or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes.record_fields import kind_of, listed, messages_of, only_turn, turns_of
from curate.read.shapes.sharegpt import turns_from, turns_to
from curate.row import Message

Side = tuple[tuple[Message, ...], str]


def side_from(value: Any, name: str, role: str, *, alternating: bool = False) -> Side:
    """Return the turns that a part holds, and its form.

    The form is text, messages, turns (ShareGPT's), turn (one of either), pairs (human, assistant),
    texts (of one side, or alternating between both), or contents (objects without a role).
    """
    if alternating or (isinstance(value, str) and value.startswith("[{")):
        value = listed(value)
    if isinstance(value, str):
        return (Message(role, value),), "text"
    if isinstance(value, Mapping):
        return side_from([value], name, role)[0], "turn" if "role" in value else "sharegpt_turn"
    if not isinstance(value, list) or not value:
        found = kind_of(value)
        raise ValueError(f"column '{name}' must be a string or a list of turns, found {found}")
    if all(isinstance(turn, str) for turn in value):
        roles = ("user", "assistant") if alternating else (role,)
        turns = tuple(Message(roles[i % len(roles)], text) for i, text in enumerate(value))
        return turns, "texts"
    first = value[0]
    if isinstance(first, Mapping) and "from" in first and "role" not in first:
        return turns_from(value, name)[0], "turns"
    if all(isinstance(turn, Mapping) and set(turn) == {"human", "assistant"} for turn in value):
        pairs: list[Message] = []
        for index, pair in enumerate(value):
            asked = {"role": "user", "content": pair["human"]}
            answer = {"role": "assistant", "content": pair["assistant"]}
            pairs += messages_of([asked, answer], f"{name}[{index}]")
        return tuple(pairs), "pairs"
    if all(isinstance(turn, Mapping) and set(turn) == {"content"} for turn in value):
        return messages_of([{"role": role, **turn} for turn in value], name), "contents"
    return messages_of(value, name), "messages"


def side_to(turns: Sequence[Message], form: str, role: str) -> Any:
    """Return turns in the form that `side_from` found."""
    if form == "text":
        return only_turn(turns, role)
    if form in ("turns", "sharegpt_turn"):
        written: list[Any] = turns_to(turns)
    else:
        written = turns_of(turns)
    if form in ("turn", "sharegpt_turn"):
        if len(written) != 1:
            raise ValueError(f"this column holds a single turn, and there are {len(written)}")
        return written[0]
    plain = all(set(turn) == {"role", "content"} for turn in written)
    if form in ("texts", "contents", "pairs") and not plain:
        raise ValueError("this column holds plain texts only")
    if form == "pairs":
        if [t["role"] for t in written] != ["user", "assistant"] * (len(written) // 2):
            raise ValueError("this column holds pairs of a user's and an assistant's turn")
        asked, answers = written[::2], written[1::2]
        return [
            {"human": one["content"], "assistant": two["content"]}
            for one, two in zip(asked, answers, strict=True)
        ]
    if form == "contents":
        return [{"content": turn["content"]} for turn in written]
    if form == "texts":
        return [turn["content"] for turn in written]
    return written
