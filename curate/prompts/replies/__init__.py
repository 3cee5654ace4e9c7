"""What a reply says: a number, a label or an object, read by one strict grammar.

Every step that reads a judgement reads it here. Whatever is ambiguous, outside the scale or cut off
raises `UnusableReply`: the row fails and the reply is kept. The price of strictness is a few more
failed rows; the alternative, a guess, is a score that nobody gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.prompts.replies.labels import label_in
from curate.prompts.replies.numbers import SCORE_NAMES, number_in
from curate.prompts.replies.plain_lines import answer_in

__all__ = ["SCORE_NAMES", "label_in", "number_in", "read", "read_label", "read_number"]

T = TypeVar("T")


def read_number(
    reply: Reply,
    low: float | None = None,
    high: float | None = None,
    names: Sequence[str] = SCORE_NAMES,
) -> float:
    """Return the one number from `low` to `high` that `reply` states as one of `names`."""
    return read(reply, lambda text: number_in(text, low, high, names))


def read_label(reply: Reply, labels: Sequence[str]) -> str:
    """Return the one of `labels` that `reply` states."""
    return read(reply, lambda text: label_in(text, labels))


def read(reply: Reply, parse: Callable[[str], T]) -> T:
    """Return what `parse` makes of a whole reply; its `ValueError` becomes `UnusableReply`.

    Reasoning that was written before the answer is no part of it.
    """
    text = reply.whole()
    try:
        return parse(answer_in(text))
    except ValueError as error:
        raise UnusableReply(str(error), key=reply.key) from error
