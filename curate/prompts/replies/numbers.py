"""The one number that a reply states.

A statement is a line that is nothing but a number ("4.5/5", "four"), a named one ("Score: 4") or a
marked one ("[[4]]"). There must be a statement, all must agree, each must be read to its end, and
the number must lie on the scale. Numbers elsewhere in the prose are not statements. "4-5", "4 or
5", "4,5", "~4" and "4/5" on another scale say nothing certain, and fail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from curate.ask import Reply
from curate.prompts.replies.plain_lines import lines, marks, read, shown

SCORE_NAMES = ("score", "rating", "grade", "mark")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = rf"(?:[-+]?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?|(?:{'|'.join(_WORDS)})\b)"
_VALUE = rf"""
    (?P<value>{_NUMBER})
    (?: (?: \s*/\s* | \s+\(?out\s+of\s+ ) (?P<top>{_NUMBER}) \)? )?
    (?: \s*(?P<percent>%|percent\b) | \s+(?:stars?|points?)\b )?
"""
# What may follow on the line: an end, or prose set off from the number. Not "or 5", "to 5".
_END = r"\s*[.!]?\s*$"
_PROSE = r"\s*(?:[,;:.]\s+|\s[-–]\s+|\s*—\s*|\s*\()(?!(?:or|to|and|out|maybe)\b)[^\W\d]"
_ALONE = re.compile(rf"(?ix){_VALUE}(?:{_END})")
_SAID = re.compile(rf"(?ix){_VALUE}(?:{_END}|{_PROSE})")
_BEGINS = re.compile(rf"(?i)[-+~<>]?\s*(?:\d|{_NUMBER})")
# Between a name and its number: the scale it is given on, then the sign of equality.
_SCALE = r"""
    (?: \s*[(\[](?P<scale>[^)\]]*)[)\]]
      | \s+on\s+a\s+scale\s+(?:of|from)\s+(?P<low>\d+)\s+to\s+(?P<high>\d+) )?
"""
_EQUALS = r"(?: \s*[:=—]\s* | \s+[-–]\s+ | \s+is\s*:?\s+ | \s*:?\s*$ )"


def read_number(
    reply: Reply,
    low: float | None = None,
    high: float | None = None,
    names: Sequence[str] = SCORE_NAMES,
) -> float:
    """Return the one number from `low` to `high` that `reply` states as one of `names`."""
    return read(reply, lambda text: number_in(text, low, high, names))


def number_in(
    text: str,
    low: float | None = None,
    high: float | None = None,
    names: Sequence[str] = SCORE_NAMES,
) -> float:
    """Return the one number that `text` states, or raise `ValueError` saying why there is none."""
    try:
        found = set(_statements(text, low, high, names))
    except ValueError as error:
        raise ValueError(f"{error}, in {shown(text)}") from None
    if len(found) > 1:
        listed = ", ".join(f"{value:g}" for value in sorted(found))
        raise ValueError(f"it states several numbers ({listed}), in {shown(text)}")
    if not found:
        wanted = f"a number, alone on its line or as '{names[0]}: NUMBER'"
        raise ValueError(f"it does not state {wanted}: {shown(text)}")
    value = found.pop()
    below = low is not None and value < low
    if below or (high is not None and value > high) or not math.isfinite(value):
        raise ValueError(f"{value:g} is outside the scale from {low} to {high}")
    return value


def _statements(
    text: str, low: float | None, high: float | None, names: Sequence[str]
) -> Iterator[float]:
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in names)
    named = re.compile(rf"(?ix)(?<!\w)(?:{words})(?:\s+(?:score|rating))?{_SCALE}{_EQUALS}")
    marked = [_ALONE.match(mark) for mark in marks(text)]
    for mark in filter(None, marked):
        yield _value(mark, low, high)
    for line in lines(text):
        if alone := _ALONE.match(line):
            yield _value(alone, low, high)
            continue
        for name in named.finditer(line):
            rest = line[name.end() :]
            # "The score is based on ..." states nothing; "Score: unknown" does, and badly.
            if not rest or not (_BEGINS.match(rest) or (":" in name[0] and not name.start())):
                continue
            said = _SAID.match(rest)
            if said is None:
                raise ValueError(f"'{line[name.start() :][:60]}' is not one certain number")
            scale = f"{name['low']} {name['high']}" if name["low"] else name["scale"] or ""
            ends = [float(end) for end in re.findall(r"\d+", scale)]
            if ends and high is not None and ends not in ([low, high], [high]):
                raise ValueError(f"'{name[0].strip()}' is another scale than {low:g} to {high:g}")
            yield _value(said, low, high)


def _value(found: re.Match[str], low: float | None, high: float | None) -> float:
    value = _number(found["value"])
    if found["top"] and _number(found["top"]) != high:
        raise ValueError(f"'{found[0].strip()}' is on another scale than {low} to {high}")
    if not found["percent"]:
        return value
    if high not in (1, 100) or low not in (0, 1) or low == high:
        raise ValueError(f"'{found[0].strip()}' is a percentage; the scale is {low} to {high}")
    return value / 100 if high == 1 else value


def _number(text: str) -> float:
    word = text.lower()
    return float(_WORDS.index(word)) if word in _WORDS else float(text.replace(",", ""))
