"""Cut a document into passages, by the places of its paragraphs.

A passage is a range of the document's text, so it can always be found again. It ends where a
paragraph does, and never behind a heading or inside a fenced block of code, unless one paragraph
alone is longer than a passage: that is cut behind a sentence, or else between words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"[ \t]{0,3}(```+|~~~+)")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]")
_SENTENCE = re.compile(r"[.!?]['\")\]]*\s+|[。！？]+[」』”]*\s*|\n")


class TextRange(NamedTuple):
    """A range of a text: `text[start:end]`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """Return what lies in the range."""
        return text[self.start : self.end]


def passages(text: str, most: int) -> list[TextRange]:
    """Return the passages of `text`, in order, of at most `most` characters each.

    The last one may be a quarter longer, so that no few words stand alone. What lies between two
    passages is white space.
    """
    found: list[TextRange] = []
    open_: list[TextRange] = []
    for block in (piece for whole in _blocks(text) for piece in _cut(text, whole, most)):
        if open_ and block.end - open_[0].start > most:
            # Headings at the end belong to what follows them.
            kept = len(open_)
            while kept > 1 and _HEADING.match(text, open_[kept - 1].start):
                kept -= 1
            found.append(TextRange(open_[0].start, open_[kept - 1].end))
            open_ = open_[kept:]
            if open_ and block.end - open_[0].start > most:
                found.append(TextRange(open_[0].start, open_[-1].end))
                open_ = []
        open_.append(block)
    if open_:
        last = TextRange(open_[0].start, open_[-1].end)
        short = last.end - last.start < most // 4
        if found and short and last.end - found[-1].start <= most + most // 4:
            last = TextRange(found.pop().start, last.end)
        found.append(last)
    return found


def _blocks(text: str) -> list[TextRange]:
    """Return the paragraphs: what blank lines part, outside fenced code."""
    found: list[TextRange] = []
    start = end = -1
    fence = ""
    for line in _LINE.finditer(text):
        mark = _FENCE.match(line[0])
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        if line[0].strip():
            start = line.start() if start < 0 else start
            end = line.start() + len(line[0].rstrip())
        elif start >= 0 and not fence:
            found.append(TextRange(start, end))
            start = -1
    return [*found, TextRange(start, end)] if start >= 0 else found


def _cut(text: str, block: TextRange, most: int) -> list[TextRange]:
    """Return a paragraph in pieces of at most `most` characters."""
    found = []
    start = block.start
    while block.end - start > most:
        end = max((m.end() for m in _SENTENCE.finditer(text, start, start + most)), default=0)
        end = end or text.rfind(" ", start + 1, start + most) + 1 or start + most
        piece = text[start:end]
        if piece.strip():
            found.append(
                TextRange(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
            )
        start = end
    rest = block.of(text)[start - block.start :]
    if rest.strip():
        found.append(TextRange(block.end - len(rest.lstrip()), block.end))
    return found
