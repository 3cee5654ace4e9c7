"""The answer of a row, and the turns before it: what a likelihood or a reward is asked of."""

from __future__ import annotations

from typing import Any

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


def template_options(row: Row) -> dict[str, Any] | None:
    """Return what a row's columns give its chat template; `None` where they give nothing.

    Raises:
        ValueError: a column cannot be read.
    """
    from curate.read.shapes.record_fields import extra_columns, rendering_options

    try:
        return rendering_options(extra_columns(row)) or None
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"its columns tools and chat_template_kwargs cannot be read ({error}): tools is a list "
            "of tools, and chat_template_kwargs a mapping, or the JSON text of one"
        ) from error
