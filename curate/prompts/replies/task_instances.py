"""Instances of a task in one reply: inputs and outputs behind Self-Instruct's markers."""

from __future__ import annotations

import re
from typing import NamedTuple

_EXAMPLE = re.compile(r"(?m)^[ \t]*Example[ \t]?\d*[ \t]*[.:]?[ \t]*$")
_OUTPUT = re.compile(r"(?m)^[ \t]*Output[ \t]*\d*[ \t]*:")
_INPUT = re.compile(r"(?m)^[ \t]*Input[ \t]*\d*[ \t]*:")
_LABEL = "Class label:"
_AT_LABEL = re.compile(rf"(?m)^[ \t]*{_LABEL}")


class Instance(NamedTuple):
    """An input, empty where the task needs none, and the output for it."""

    input: str
    output: str


def input_first(text: str, cut: bool = False) -> list[Instance]:
    """Return the instances of a reply that begins behind "Example 1".

    What stands behind an output's own text, before the next marker, belongs to nothing. Of a reply
    that was `cut` off the last one may have no output.

    Raises:
        ValueError: there is no line that begins with "Output:".
    """
    found = []
    parts = [part for part in _EXAMPLE.split(text) if part.strip()]
    for number, part in enumerate(parts, 1):
        marks = list(_OUTPUT.finditer(part))
        if not marks and cut and number == len(parts):
            found.append(Instance(part.strip(), ""))
            continue
        if not marks:
            raise ValueError('an example has no line that begins with "Output:"')
        output = part[marks[0].end() : marks[1].start() if len(marks) > 1 else None]
        # A model may go on with an input of its own.
        output = _INPUT.split(output)[0].strip()
        head = part[: marks[0].start()].strip()
        found.append(Instance(_INPUT.sub("", head, count=1).strip(), output))
    if not found:
        raise ValueError("it is empty")
    return found


def output_first(text: str) -> list[Instance]:
    """Return the instances of a reply that begins behind "Class label:".

    The first line of each is its label, the rest its input.

    Raises:
        ValueError: there is no label.
    """
    parts = _AT_LABEL.split(text if _AT_LABEL.match(text.lstrip()) else f"{_LABEL} {text.lstrip()}")
    found = []
    for part in parts:
        label, _, rest = part.strip().partition("\n")
        if label:
            found.append(Instance(rest.strip(), label.strip()))
    if not found:
        raise ValueError("it has no class label")
    return found
