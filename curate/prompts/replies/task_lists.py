"""New tasks in one reply: a numbered list that goes on, or Alpaca's numbered blocks.

The list has a number in every line that begins with one, and they count up: a reply that numbers
otherwise cannot be told apart into tasks, and is not read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = re.compile(r"(?m)^[ \t]*(\d+)[ \t]?\.(?=\s|$)")
_SEPARATOR = re.compile(r"(?m)^[ \t]*###[ \t]*$")
_FIELD = re.compile(r"(?m)^[ \t]*(\d+)\.[ \t]+(Instruction|Input|Output):[ \t]*")
_FIELDS = ("Instruction", "Input", "Output")
NO_INPUT = "<noinput>"


class TaskText(NamedTuple):
    """A task as a reply writes it."""

    task: str
    input: str = ""
    output: str = ""


def numbered(text: str, first: int) -> list[str]:
    """Return the items of a list whose first number, `first`, may stand before the text.

    Raises:
        ValueError: the text is empty, or its numbers do not count up from `first`.
    """
    if not text.strip():
        raise ValueError("it is empty")
    begins = _NUMBER.match(text.lstrip())
    if begins is not None and int(begins[1]) != first:
        raise ValueError(f"it begins with {begins[1]} where {first} was to come")
    if begins is None:
        text = f"{first}. {text.lstrip()}"
    marks = list(_NUMBER.finditer(text))
    for number, mark in enumerate(marks, first):
        if int(mark[1]) != number:
            raise ValueError(f"it numbers a task {mark[1]} where {number} was to come")
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]


def blocks(text: str, first: int) -> list[TaskText | str]:
    """Return the tasks of a list in Alpaca's form, or for one that has not that form what is wrong.

    The number and the word "Instruction" of the first may stand before the text.

    Raises:
        ValueError: the text is empty.
    """
    if not text.strip():
        raise ValueError("it is empty")
    begins = _FIELD.match(text.lstrip().removeprefix("###").lstrip())
    if begins is None:
        text = f"{first}. Instruction: {text.lstrip()}"
    parts = [part for part in _SEPARATOR.split(text) if part.strip()]
    return [_block(part, number) for number, part in enumerate(parts, first)]


def _block(text: str, number: int) -> TaskText | str:
    marks = list(_FIELD.finditer(text))
    found = [(int(mark[1]), mark[2]) for mark in marks]
    if found != [(number, name) for name in _FIELDS] or text[: marks[0].start()].strip():
        said = ", ".join(f"{one}. {name}" for one, name in found) or "no field"
        return (
            f"task {number} must have Instruction, Input and Output of that number; it has {said}"
        )
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    task, given, output = (
        text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)
    )
    return TaskText(task, "" if given.lower() == NO_INPUT else given, output)
