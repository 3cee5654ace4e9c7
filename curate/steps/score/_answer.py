"""The answer of a row, and the turns before it: what a likelihood or a reward is asked of."""

from __future__ import annotations

from curate.row import RESPONSE_FIELD, Message, Row

Turns = tuple[Message, ...]


def answer_of(row: Row) -> tuple[Turns, Message]:
    """Return the turns before the last answer of a row, and that answer.

    Raises:
        ValueError: there is no answer, or a turn up to it holds a tool call or a medium, which
            would be weighed as if it were not there.
    """
    turns = row.fields[RESPONSE_FIELD[row.kind]]
    if row.kind != "sft":
        turns = (*row.prompt, *turns)
    last = max((n for n, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None:
        raise ValueError("the row has no answer to weigh: no turn is the assistant's")
    if any(turn.attached for turn in turns[: last + 1]):
        raise ValueError("the row has tool calls or media, and only texts can be weighed")
    return tuple(turns[:last]), turns[last]
