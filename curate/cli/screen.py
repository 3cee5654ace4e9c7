"""Lay out results for a terminal: columns, and two texts side by side.

Data may hold anything, escape sequences included, so every text passes through `printable`.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from curate.row import printable


def width() -> int:
    """Return how many columns there are to fill."""
    return max(40, min(160, shutil.get_terminal_size((100, 24)).columns))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns below `head`."""
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = (
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def clipped(text: str, size: int) -> str:
    """Return `text` in one line of at most `size` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= size else line[: max(0, size - 3)] + "..."


def wrapped(text: str, size: int, most: int = 0) -> list[str]:
    """Return `text` in lines of `size` characters, `most` of them at most (0: all)."""
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(printable(paragraph), size, break_long_words=True) or [""]
    ]
    if most and len(lines) > most:
        return [*lines[: most - 1], "..."]
    return lines


def side_by_side(left: str, right: str, most: int = 8) -> str:
    """Return two texts beside each other, each in half of the screen."""
    size = (width() - 3) // 2
    pairs = zip_longest(wrapped(left, size, most), wrapped(right, size, most), fillvalue="")
    return "\n".join(f"{a:<{size}} | {b}".rstrip() for a, b in pairs)


def indented(text: str, by: int = 2) -> str:
    """Return `text` moved to the right."""
    return textwrap.indent(text, " " * by)
