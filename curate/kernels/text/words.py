"""What a word, a line and a paragraph are: the plain-Python definitions.

A word is a run of characters without white space; a Chinese or Japanese character (Han, Hiragana,
Katakana), written without spaces, is a word of its own. White space is what `str.isspace` says.
`kernels.text` finds the same words in UTF-8 bytes; tests hold the two equal on any text.
"""

from __future__ import annotations

import re

# Hiragana and Katakana; Han: extension A, the unified block, compatibility, supplementary planes.
LONE_RANGES = (
    (0x3041, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_LONE = "".join(f"{chr(first)}-{chr(last)}" for first, last in LONE_RANGES)
_WORD = re.compile(f"[{_LONE}]|[^\\s{_LONE}]+")
# For Python and RE2 alike: such a character, and the same between spaces.
LONE, BETWEEN_SPACES = f"([{_LONE}])", r" \1 "
_LONE_ONE = re.compile(LONE)


def stands_alone(character: str) -> bool:
    """Tell whether a character is a word of its own, written without spaces around it."""
    return any(first <= ord(character) <= last for first, last in LONE_RANGES)


def spaced(text: str) -> str:
    """Return `text` with spaces around every character that is a word of its own."""
    return text if text.isascii() else _LONE_ONE.sub(BETWEEN_SPACES, text)


def words(text: str) -> list[str]:
    """Return the words of `text`, in order."""
    return text.split() if text.isascii() else _WORD.findall(text)
