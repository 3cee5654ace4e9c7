"""The questions and answers that a reply holds: as an object, or in lines that begin with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from curate.prompts.replies.objects import object_in
from curate.prompts.replies.plain_lines import shown
from curate.prompts.replies.usable_text import check_written

_MARKER = re.compile(
    r"(?im)^[ \t]*(?:[-*#]+[ \t]+)?\**(?P<side>question|answer|q|a)[ \t]*(?P<number>\d+)?\**"
    r"[ \t]*:\**[ \t]*"
)


class Pair(NamedTuple):
    """A question with its answer, and the words of the source that the answer rests on."""

    question: str
    answer: str
    quote: str | None = None


def pairs_in(text: str, schema: Mapping[str, Any] | None, head: str = "") -> list[Pair]:
    """Return the pairs of a reply: of the list `pairs` in its object, or without a schema in lines.

    `head` is how the first line begins, where the reply goes on from there.

    Raises:
        ValueError: there are none, they are not numbered one after the other, or a side is missing,
            empty or no text.
    """
    if schema is not None:
        found = [
            Pair(pair["question"], pair["answer"], pair.get("quote"))
            for pair in object_in(text, schema)["pairs"]
        ]
    else:
        found = _in_lines(head + text)
    return [
        Pair(
            check_written(pair.question, "a question"),
            check_written(pair.answer, "an answer"),
            pair.quote,
        )
        for pair in found
    ]


def _in_lines(text: str) -> list[Pair]:
    """Return the pairs of lines that begin with "Question:" and "Answer:", numbered or not."""
    markers = list(_MARKER.finditer(text))
    if not markers:
        raise ValueError(f'it holds no line that begins with "Question:": {shown(text)}')
    if text[: markers[0].start()].strip():
        raise ValueError(f"it begins with a text that is not a question: {shown(text)}")
    sides = [marker["side"][0].lower() for marker in markers]
    if sides != ["q", "a"] * (len(sides) // 2):
        raise ValueError(f"its questions and answers do not alternate: {shown(text)}")
    numbers = [marker["number"] for marker in markers]
    wanted = [str(place // 2 + 1) for place in range(len(markers))]
    if any(number not in (None, want) for number, want in zip(numbers, wanted, strict=True)):
        raise ValueError(f"it numbers its pairs {[n for n in numbers if n]}: {shown(text)}")
    ends = [marker.start() for marker in markers[1:]] + [len(text)]
    said = [text[m.end() : end].strip() for m, end in zip(markers, ends, strict=True)]
    return [Pair(*both) for both in zip(said[::2], said[1::2], strict=True)]
