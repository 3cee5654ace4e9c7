"""A reply's lines without their dress: fences, bullets, emphasis, Unicode variants of ASCII."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from curate.ask import Reply
from curate.errors import UnusableReply

T = TypeVar("T")

# Full-width forms (U+FF01 to U+FF5E) and hyphens mean their ASCII twins. The en dash stays: it is
# as often "to" as it is a minus. NFKC would be wrong here: it turns "4½" into "41⁄2".
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x2010: "-",
    0x2011: "-",
    0x2012: "-",
    0x2212: "-",
    0x00A0: " ",
    0x202F: " ",
    0x2014: "—",
    0x2015: "—",
    0x201C: '"',
    0x201D: '"',
    0x2018: "'",
    0x2019: "'",
}
_FENCE = re.compile(r"(?m)^\s*(?:```|~~~)[\w-]*\s*$")
_LEAD = re.compile(r"^(?:#+\s+|[-*•]\s+)+")
_EMPHASIS = re.compile(r"\*\*|__|`")
_THOUGHT = ("<think>", "</think>")
_MARK = re.compile(r"\[\[(.*?)\]\]")


def read(reply: Reply, parse: Callable[[str], T]) -> T:
    """Return what `parse` makes of a whole reply; its `ValueError` becomes `UnusableReply`.

    Reasoning that was written before the answer is not part of it.
    """
    text = reply.whole()
    try:
        return parse(answer_in(text))
    except ValueError as error:
        raise UnusableReply(str(error), key=reply.key) from error


def answer_in(text: str) -> str:
    """Return `text` without the reasoning that some models write before their answer.

    It ends with `</think>`; where a chat template opens it, the reply has no `<think>`. Text that
    only mentions such a tag, or has several, is left as it is.

    Raises:
        ValueError: the reasoning has no end, and so there is no answer.
    """
    head, closed, rest = text.partition(_THOUGHT[1])
    opened = head.lstrip().startswith(_THOUGHT[0]) and head.count(_THOUGHT[0]) == 1
    if opened and not closed:
        raise ValueError(f"it is reasoning without an end: {shown(text)}")
    if not closed or any(tag in rest for tag in _THOUGHT):
        return text
    by_template = _THOUGHT[0] not in head and head.endswith("\n") and rest.startswith("\n")
    return rest if opened or by_template else text


def plain(text: str) -> str:
    """Return `text` with one form for each character that has several."""
    return text.translate(_PLAIN)


def lines(text: str) -> Iterator[str]:
    """Yield the lines that say something, without fences, bullets, emphasis and `[[ ]]`."""
    for line in _FENCE.sub("", plain(text)).splitlines():
        line = _LEAD.sub("", line.strip())
        line = _MARK.sub(r"\1", _EMPHASIS.sub("", line)).strip(" \t*")
        if line:
            yield line


def marks(text: str) -> list[str]:
    """Return the texts in double brackets, the form that MT-bench asks of its judges.

    Zheng et al. 2023, arXiv 2306.05685.
    """
    return [mark.strip() for mark in _MARK.findall(plain(text))]


def shown(text: str) -> str:
    """Return the beginning and the end of a reply on one line, for a message."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 120 else f"{flat[:60]} ... {flat[-50:]}")
