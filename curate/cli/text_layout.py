"""Lay out results for a terminal: columns, and two texts side by side.

Data may hold anything, escape sequences included, so every text passes through `printable`.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

import typer

from curate.row import printable


def width() -> int:
    """Return how many columns there are to fill."""
    return max(40, min(160, shutil.get_terminal_size((100, 24)).columns))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns below `head`, if there is one."""
    cells = [[printable(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def headed(text: str) -> str:
    """Return `text` with the first line, and the first one of every paragraph of several, in bold.

    Where the output is no terminal, echo takes that away.
    """
    first, *paragraphs = text.split("\n\n")
    parts = [_bold(first), *(_bold(p) if "\n" in p else p for p in paragraphs)]
    return "\n\n".join(parts)


def _bold(paragraph: str) -> str:
    head, newline, rest = paragraph.partition("\n")
    return typer.style(head, bold=True) + newline + rest


def clipped(text: str, size: int) -> str:
    """Return `text` in one line of at most `size` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= size else line[: max(0, size - 3)] + "..."


def squeezed(text: str, size: int) -> str:
    """Return the beginning and the end of `text`, in whole words and one line of `size` at most."""
    line = printable(" ".join(text.split()))
    if len(line) <= size:
        return line
    end = max(1, size // 2 - 5)
    first, last = line[: size - end - 5], line[-end:]
    return f"{first.rpartition(' ')[0] or first} ... {last.partition(' ')[2] or last}"


def wrapped(text: str, size: int, most: int = 0, gap: str = "...") -> list[str]:
    """Return `text` in lines of `size` characters, `most` of them at most (0: all).

    Of a longer one the beginning and the end are left, and between them the `gap`, in which `{}` is
    the number of lines left out.
    """
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(printable(paragraph), size, break_long_words=True) or [""]
    ]
    if most and len(lines) > most:
        first = most // 2
        last = len(lines) - (most - 1 - first)
        return [*lines[:first], gap.format(last - first), *lines[last:]]
    return lines


def beside(left: Sequence[str], right: Sequence[str], most: int = 4) -> str:
    """Return two columns of texts, each in half of the screen.

    A text at the left takes `most` lines at most; so does one that hangs at the right.
    """
    size = (width() - 3) // 2
    sides: list[list[str]] = [[], []]
    for side, texts in zip(sides, (left, right), strict=True):
        for text in texts:
            # Every line is moved to the right as the first one is.
            by = len(text) - len(text.lstrip())
            side += [" " * by + line for line in wrapped(text.lstrip(), size - by, most)]
    return "\n".join(f"{a:<{size}} | {b}".rstrip() for a, b in zip_longest(*sides, fillvalue=""))
