r"""What a translation must leave as it is: code, addresses, variables and numbers.

Spans are found in this order, and none inside another: a number in a URL is part of the URL. They
are compared as multisets, because a sentence's parts may change places in another language.
Numbers are compared by value: 1,234.5 in English is 1.234,5 in German. Where a number could be
read in two ways (1,234), either is taken; digits of any script count.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

KINDS = ("code", "URLs", "variables", "numbers")

_CODE = re.compile(
    r"^[ \t]{0,3}(?P<fence>```+|~~~+)[^\n]*\n.*?(?:^[ \t]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",
    re.MULTILINE | re.DOTALL,
)
# What stands before an @ has 64 characters at most: a bound, so that long texts take no longer.
_URLS = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]{1,15}://|\bwww\.|\bmailto:)[^\s<>\"'`|\\^{}\[\]（）。，、；]+"
    r"|\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
    re.IGNORECASE,
)
_VARIABLES = re.compile(
    r"\{\{[^{}\n]*\}\}|\{%[^{}\n]*%\}|\$\{[^{}\n]*\}"
    # Of braces and tags only what is short and looks like a name: texts have both in other roles.
    r"|\{[\w.:!-]{0,40}\}"
    r"|%\([\w.]+\)[#0 +-]*\d*(?:\.\d+)?[a-z]|(?<![\d%])%(?:\d+\$)?[sdifxr](?![a-z])"
    r"|</?[A-Za-z][\w:-]*(?:\s[^<>\n]*)?/?>|\[[A-Z][A-Z0-9_ ]+\]|\b__[A-Z][A-Z0-9_]*__\b"
)
# White space that parts thousands: in French and by the international rule no other.
_GROUPING = " \u00a0\u2009\u202f'\u2019"
_NUMBERS = re.compile(rf"\d+(?:[.,٫٬{_GROUPING}]\d{{3}}(?!\d))*(?:[.,٫]\d+)*(?!\w{{0,64}}@)")


class Protected(NamedTuple):
    """The spans of one text, and what is left of it without them."""

    code: tuple[str, ...]
    urls: tuple[str, ...]
    variables: tuple[str, ...]
    numbers: tuple[frozenset[str], ...]
    prose: str


def protected(text: str) -> Protected:
    """Return the protected spans of `text`; a number is the set of values it may have."""
    code, text = _taken(_CODE, text)
    urls, text = _taken(_URLS, text)
    variables, text = _taken(_VARIABLES, text)
    numbers = tuple(_values(match[0]) for match in _NUMBERS.finditer(text))
    return Protected(code, urls, variables, numbers, _NUMBERS.sub(" ", text))


def _taken(pattern: re.Pattern[str], text: str) -> tuple[tuple[str, ...], str]:
    """Return the spans of one kind, and the text with a blank in the place of each."""
    spans, rest, done = [], [], 0
    for match in pattern.finditer(text):
        span = match[0].strip()
        # A full stop or a bracket behind an address is the sentence's.
        span = span.rstrip(".,;:!?)*_") if pattern is _URLS else span
        spans.append(span)
        rest += [text[done : match.start()], " "]
        done = match.end() - (len(match[0]) - len(span) if pattern is _URLS else 0)
    return tuple(spans), "".join([*rest, text[done:]])


def differences(source: str, target: str) -> dict[str, list[str]]:
    """Return what differs between two texts, by kind: `-` is missing in `target`, `+` is new."""
    one, other = protected(source), protected(target)
    found = {}
    for kind, ours, theirs in (
        ("code", one.code, other.code),
        ("URLs", one.urls, other.urls),
        ("variables", one.variables, other.variables),
    ):
        lost, new = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
        if lost or new:
            found[kind] = [f"-{s}" for s in lost.elements()] + [f"+{s}" for s in new.elements()]
    lost_numbers, new_numbers = unmatched(one.numbers, other.numbers)
    if lost_numbers or new_numbers:
        found["numbers"] = [f"-{min(sorted(v), key=len)}" for v in lost_numbers]
        found["numbers"] += [f"+{min(sorted(v), key=len)}" for v in new_numbers]
    return found


def unmatched(
    ours: tuple[frozenset[str], ...], theirs: tuple[frozenset[str], ...]
) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """Return the numbers of either side that have no equal on the other one.

    Numbers of one value choose first, so that one of two values is not taken by a wrong one.
    """
    left = Counter(theirs)
    # Looked up by value: going through all that are left takes the square of their count.
    having: dict[str, set[frozenset[str]]] = {}
    for other in left:
        for value in other:
            having.setdefault(value, set()).add(other)
    lost = []
    for values in sorted(ours, key=lambda values: (len(values), sorted(values))):
        same = [other for value in values for other in having.get(value, ()) if left[other]]
        if same:
            left[min(same, key=lambda other: (len(other), sorted(other)))] -= 1
        else:
            lost.append(values)
    return lost, list(left.elements())


def _values(number: str) -> frozenset[str]:
    """Return the values that a number may have: 1.234 is 1234 to some, and 1.234 to others."""
    plain = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else {"٫": ",", "٬": "'"}.get(c, c)
        for c in number
    )
    plain = re.sub(f"[{_GROUPING}]", "", plain)
    marks = [c for c in plain if c in ".,"]
    digits = re.sub("[.,]", "", plain)
    readings = set()
    head, _, tail = plain.rpartition(marks[-1]) if marks else (plain, "", "")
    pieces = re.split("[.,]", plain)
    grouped = all(len(piece) == 3 for piece in pieces[1:]) and pieces[0] not in ("", "0")
    grouped = grouped and len(pieces[0]) <= 3
    if not marks:
        readings.add(digits)
    else:
        inner = re.split("[.,]", head)
        # One mark before decimals, or thousands parted by the other mark.
        if len(marks) == 1 or (
            marks[-1] not in marks[:-1]
            and len(set(marks[:-1])) == 1
            and all(len(piece) == 3 for piece in inner[1:])
        ):
            readings.add(f"{re.sub('[.,]', '', head)}.{tail}")
        if grouped and len(set(marks)) == 1:
            readings.add(digits)
    # A version or a date: its pieces count, whatever parts them.
    readings = readings or {".".join(pieces)}
    # Zeros behind a decimal mark say nothing; 007 and dates stay as they are.
    return frozenset(
        value.rstrip("0").rstrip(".") if value.count(".") == 1 else value for value in readings
    )
