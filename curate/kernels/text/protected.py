"""What a translation must leave as it is: code, addresses, placeholders, numbers.

Spans are compared as multisets, because a translation may change their order. Numbers are compared
by their digits alone: 1,000.5 and 1.000,5 are one number, and so are Arabic-Indic and ASCII digits.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_FENCED = re.compile(r"(?ms)^[ \t]*(```|~~~)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$")
_INLINE = re.compile(r"`([^`\n]+)`")
_URL = re.compile(r"(?:https?|ftp)://[^\s<>\"'`)\]}，。；、）」]+|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]*\}\}|\{[A-Za-z_]\w*\}|%\([A-Za-z_]\w*\)[sdfr]|%[sdfr]\b|\$\{?[A-Za-z_]\w*\}?"
    r"|</?[A-Za-z][\w-]*(?: [^<>\n]*)?/?>|\[[A-Z][A-Z0-9_]+\]"
)
# Digits, joined over the separators that languages write inside a number.
_NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f٫٬]\d+)*")
KINDS = ("code", "address", "placeholder", "number")


def protected_spans(text: str) -> dict[str, Counter[str]]:
    """Return the spans of each kind in `text`, how often each occurs.

    A span belongs to the first kind that holds it: a number inside an address is no number.
    """
    found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}

    def take(kind: str, pattern: re.Pattern[str], group: int, text: str) -> str:
        found[kind].update(match[group].strip() for match in pattern.finditer(text))
        return pattern.sub(" ", text)

    text = take("code", _FENCED, 2, text)
    text = take("code", _INLINE, 1, text)
    found["address"].update(match[0].rstrip(".,;:!?") for match in _URL.finditer(text))
    text = _URL.sub(" ", text)
    text = take("placeholder", _PLACEHOLDER, 0, text)
    for match in _NUMBER.finditer(text):
        values = (unicodedata.digit(character, None) for character in match[0])
        found["number"]["".join(str(value) for value in values if value is not None)] += 1
    return found


def changed_span(before: str, after: str) -> str | None:
    """Return what a translation lost or added among the protected spans, or `None`."""
    one, other = protected_spans(before), protected_spans(after)
    for kind in KINDS:
        if lost := one[kind] - other[kind]:
            return f"the translation lost the {kind} {next(iter(lost))!r}"
        if added := other[kind] - one[kind]:
            return f"the translation added the {kind} {next(iter(added))!r}"
    return None
