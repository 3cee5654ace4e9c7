"""A reply as a text to keep: whole, not empty, and written rather than stuck in a loop."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from curate.ask import Reply
from curate.prompts.replies.plain_lines import read, shown

# A model that is stuck repeats a few words to the end; lists and tables hold shorter runs.
_PERIODS = range(1, 9)
_LOOP_WORDS, _LOOP_CHARACTERS = 50, 200
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def written(reply: Reply, what: str) -> str:
    """Return the text of a reply, without white space around it and reasoning before it.

    Args:
        reply: what a model wrote.
        what: what it was to write, as errors call it ("the answer").

    Raises:
        UnusableReply: it was cut off, is empty, holds control characters, or repeats a few words
            over and over (more than half of it, and 50 words or 200 characters).
    """
    return read(reply, lambda text: check_written(text, what))


def check_written(text: str, what: str) -> str:
    """Return `text` stripped; `ValueError` if it is none that a person could have written."""
    text = text.strip()
    if not text:
        raise ValueError(f"{what} is empty")
    control = _CONTROL.search(text)
    if control:
        name = unicodedata.name(control[0], f"U+{ord(control[0]):04X}")
        raise ValueError(f"{what} holds a control character ({name}): {shown(text)}")
    if is_loop(text):
        raise ValueError(f"{what} repeats itself over and over: {shown(text)}")
    return text


def is_loop(text: str) -> bool:
    """Tell whether more than half of a text is a few words, or characters, over and over."""
    return _longest_run(text.split()) >= _LOOP_WORDS or (
        len(text) >= _LOOP_CHARACTERS and _longest_run(text) >= _LOOP_CHARACTERS
    )


def _longest_run(items: Sequence[str]) -> int:
    """Return the length of the longest run with a short period, 0 if it is not half of all."""
    longest = 0
    for period in _PERIODS:
        run = 0
        for place in range(period, len(items)):
            run = run + 1 if items[place] == items[place - period] else 0
            longest = max(longest, run)
    return longest if 2 * longest > len(items) else 0
