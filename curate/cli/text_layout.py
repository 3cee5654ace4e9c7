"""Lay out results for a terminal: columns, two texts side by side, JSON, and a pager.

Data may hold anything, escape sequences included, so every text passes through `printable`; colours
are added behind that.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import typer

from curate.cli.failures import say
from curate.row import printable

# What `typer.style` puts into a text; data hold none of it any more.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def width() -> int:
    """Return how many columns there are to fill."""
    return max(40, min(160, shutil.get_terminal_size((100, 24)).columns))


def columns(text: str) -> int:
    """Return how many columns `text` takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        2
        if unicodedata.east_asian_width(c) in "WF"
        else unicodedata.category(c) not in ("Mn", "Me")
        for c in text
    )


def filled(text: str, size: int, by: str = " ") -> str:
    """Return `text`, in colours or not, with as many `by` behind it as make `size` columns."""
    return text + by * (size - columns(_STYLE.sub("", text)))


def show(text: str, *, pager: bool = True, color: bool | None = None) -> None:
    """Print `text`; with a `pager` where people see it and it is longer than their screen.

    The pager is `$PAGER`, or `less`, which is told to pass on colours. One that is left early is no
    error. Without `color` (None: where the output is a terminal) what `typer.style` did is undone.
    """
    sees = sys.stdin.isatty() and sys.stdout.isatty()
    # One line is left for the shell, or for the pager's own.
    if not (pager and sees and text.count("\n") + 1 >= shutil.get_terminal_size().lines):
        typer.echo(text, color=color)
        return
    wanted = os.environ.get("PAGER", "").strip()
    try:
        words = shlex.split(wanted or "less")
    except ValueError:
        words = [wanted]
    if shutil.which(words[0]) is None:
        typer.echo(text, color=color)
        if wanted:
            say(f"$PAGER is not a command that is installed: {wanted}")
        return
    if os.path.basename(words[0]) == "less":
        words.append("-R")
    # An interrupt is the pager's to handle; without us it would be left behind with the terminal.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        shown = subprocess.Popen(
            words, stdin=subprocess.PIPE, encoding=sys.stdout.encoding, errors="replace"
        )
        shown.communicate((_STYLE.sub("", text) if color is False else text) + "\n")
    finally:
        signal.signal(signal.SIGINT, before)


def json_text(data: Any) -> str:
    """Return data as JSON, with escapes for whatever could drive a terminal."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    odd = {c for c in set(text) if not c.isprintable() and c != "\n"}
    return text.translate({ord(c): json.dumps(c)[1:-1] for c in odd})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns below `head`, if there is one."""
    cells = [[printable(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(filled(cell, size) for cell, size in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def headed(text: str) -> str:
    """Return `text` with the first line, and the first one of every paragraph of several, in bold.

    Where the output is not a terminal, echo takes that away.
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


class _Wrapper(textwrap.TextWrapper):
    """A wrapper that may break a line at every wide character, which a NUL makes two long."""

    def _split(self, text: str) -> list[str]:
        return [part for chunk in super()._split(text) for part in re.split("(.\0)", chunk) if part]


def wrapped(text: str, size: int, most: int = 0, gap: str = "...") -> list[str]:
    """Return `text` in lines of `size` columns, `most` of them at most (0: all).

    Of a longer one the beginning and the end are left, and between them the `gap`, in which `{}` is
    the number of lines left out.
    """
    lines = []
    for paragraph in map(printable, text.split("\n")):
        if not paragraph.isascii():
            # What is printable holds no NUL of its own.
            paragraph = "".join(c + "\0" * (columns(c) - 1) for c in paragraph)
        found = _Wrapper(size, break_long_words=True).wrap(paragraph)
        lines += [line.replace("\0", "") for line in found] or [""]
    if most and len(lines) > most:
        first = most // 2
        last = len(lines) - (most - 1 - first)
        return [*lines[:first], gap.format(last - first), *lines[last:]]
    return lines


class Tinted(NamedTuple):
    """A text whose head, up to the first colon of its first line, has a colour."""

    text: str
    color: str | None = None


def beside(left: Sequence[str | Tinted], right: Sequence[str | Tinted], most: int = 4) -> str:
    """Return two columns of texts, each in half of the screen.

    A text at the left takes `most` lines at most; so does one that hangs at the right.
    """
    size = (width() - 3) // 2
    sides: list[list[str]] = [[], []]
    for side, texts in zip(sides, (left, right), strict=True):
        for one in texts:
            text, color = one if isinstance(one, Tinted) else Tinted(one)
            # Every line is moved to the right as the first one is.
            by = len(text) - len(text.lstrip())
            lines = [" " * by + line for line in wrapped(text.lstrip(), size - by, most)]
            head, colon, rest = lines[0].partition(":")
            side += [typer.style(head + colon, fg=color) + rest if color else lines[0], *lines[1:]]
    both = zip_longest(*sides, fillvalue="")
    return "\n".join(f"{filled(a, size)} | {b}".rstrip() for a, b in both)
