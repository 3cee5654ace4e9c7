"""Regular expressions that a user or a dataset brings, searched within a bounded time.

Python's own engine may need longer than anybody lives for `(a+)+b`, and in a thread nothing
interrupts it. The engine of `regex` reads the same syntax, gives way to other threads, and stops
when its time is up.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# A text takes microseconds by any sane pattern. Of processor time: a busy machine changes nothing.
SECONDS = 2.0
# The pieces of a pattern in a class: escapes and characters. Outside of one also comments, numbers
# of repeats, and beginnings of classes with the bracket that is one of their characters.
_INSIDE = re.compile(r"\\N\{[^}]*\}|\\.|.", re.DOTALL)
_OUTSIDE = re.compile(
    r"\(\?#[^)]*\)|\(\?P?<\w+>|\(\?P=\w+\)|\(\?[a-zA-Z-]+[:)]|\(\?\(\w+\)|\{(?:\d+(?:,\d*)?|,\d*)\}|\[\^?\]?|"
    + _INSIDE.pattern,
    re.DOTALL,
)
_VERBOSE = re.compile(r"#[^\n]*|" + _OUTSIDE.pattern, re.DOTALL)
_DOTTED = "iI\u0130\u0131"
_ASCII_FLAG = re.compile(r"\(\?[a-zA-Z-]*a")
_WORD = r"\p{L}\p{N}_"
_NO_WORD = r"\p{M}\p{Z}\p{C}\p{S}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}"
_NO_WORD += r"\u203f\u2040\u2054\ufe33\ufe34\ufe4d-\ufe4f\uff3f"
_SPACE = r"\s\x1c-\x1f"
_NO_SPACE = r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Cs}\p{Co}\p{Cn}"
_NO_SPACE += r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
_BEFORE, _AFTER = (f"(?{look}[{_WORD}])" for look in ("<=", "="))
_NOT_BEFORE, _NOT_AFTER = (f"(?{look}[{_WORD}])" for look in ("<!", "!"))
# What Python's white space, classes and edges are to the engine, outside of brackets and inside.
_SPACES = {r"\s": (f"[{_SPACE}]", _SPACE), r"\S": (f"[^{_SPACE}]", _NO_SPACE)}
_CLASSES = {
    r"\w": (f"[{_WORD}]", _WORD),
    r"\W": (f"[^{_WORD}]", _NO_WORD),
    r"\b": (f"(?:{_BEFORE}{_NOT_AFTER}|{_NOT_BEFORE}{_AFTER})", r"\b"),
    r"\B": (f"(?:{_BEFORE}{_AFTER}|{_NOT_BEFORE}{_NOT_AFTER})", r"\B"),
}


class TooSlow(ValueError):
    """A pattern that goes back and forth in a text for longer than it may."""


class BoundedPattern:
    """A pattern in Python's syntax. What it finds in a text depends on no text before."""

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        """Compile the pattern.

        Raises:
            ValueError: it is none, for Python or for the engine that can be stopped.
        """
        import regex

        try:
            given = re.compile(pattern).flags
            verbose = bool(given & re.VERBOSE)
            folds = ignore_case or bool(given & re.IGNORECASE)
            flags = regex.VERSION0 | (regex.IGNORECASE if ignore_case else 0)
            # For other texts and for ASCII, where edges of words are found many times as fast.
            self._compiled: Sequence[Any] = [
                regex.compile(_as_python_reads(pattern, classes, verbose, folds), flags)
                for classes in (_CLASSES | _SPACES, _SPACES)
            ]
        except (re.error, regex.error, RecursionError, OverflowError) as error:
            raise ValueError(
                f"pattern is not a regular expression: {error} (Python's re syntax)"
            ) from None
        self.pattern = pattern

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where each match begins and ends, in order.

        Raises:
            TooSlow: the text took longer than `SECONDS`.
        """
        shown = self.pattern if len(self.pattern) <= 60 else f"{self.pattern[:60]}..."
        compiled = self._compiled[text.isascii()]
        try:
            for match in compiled.finditer(text, timeout=SECONDS, concurrent=True):
                yield match.span()
        except TimeoutError:
            raise TooSlow(
                f"the pattern {shown} takes longer than {SECONDS:g} s on a text of "
                f"{len(text):,} characters; write it without a repeat inside a repeat, as in (a+)+"
            ) from None

    def is_in(self, text: str) -> bool:
        """Tell whether a text holds a match, be it empty."""
        return next(self.spans(text), None) is not None


def _as_python_reads(
    pattern: str, classes: Mapping[str, tuple[str, str]], verbose: bool, folds: bool
) -> str:
    r"""Return a pattern of Python's in the words of the engine, which reads some otherwise.

    Its `\w` holds combining marks and lacks `²`, its `\s` lacks four separators; `x{i}` allows
    insertions, and `[[:alpha:]]` names a class. Where case does not count (`folds`), `i` with and
    without a dot are one letter to Python.
    """
    if _ASCII_FLAG.search(pattern):
        classes, folds = {}, False
    around = _VERBOSE if verbose else _OUTSIDE
    out: list[str] = []
    inside, at = False, 0
    while at < len(pattern):
        found = (_INSIDE if inside else around).match(pattern, at)
        assert found is not None, "a piece is any character at least"
        piece, at = found[0], found.end()
        if piece in classes:
            piece = classes[piece][inside]
        elif (
            folds and piece in _DOTTED and not (inside and "-" in (*out[-1:], pattern[at : at + 1]))
        ):
            piece = _DOTTED if inside else f"[{_DOTTED}]"
        elif piece == "{" or (inside and piece == "["):
            piece = "\\" + piece
        elif piece[0] == "[":
            inside = True
        elif piece == "]":
            inside = False
        out.append(piece)
    return "".join(out)


@functools.lru_cache(maxsize=1024)
def bounded_pattern(pattern: str, *, ignore_case: bool = False) -> BoundedPattern:
    """Return a pattern, compiled once."""
    return BoundedPattern(pattern, ignore_case=ignore_case)
