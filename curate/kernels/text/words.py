r"""What a word, a line and a paragraph are: the plain-Python definitions.

A word is a run of characters without white space; a Chinese or Japanese character (Han, Hiragana,
Katakana), written without spaces, is a word of its own. White space is what `str.isspace` says.
`kernels.text` finds the same words in UTF-8 bytes; tests hold the two equal on any text.

Texts are *compared* by other words: runs of `\w` in lower case, after composition (NFC), so that
punctuation, case and the way an accent is stored hide nothing; and every letter or mark of the
scripts written without spaces (and of Hangul, whose words are short sentences) is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

# Words by which texts are compared for novelty: those below, or those of the package `rouge_score`.
Tokens = Literal["words", "rouge_score"]

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

# Letters and marks that are words where texts are compared; digits and punctuation are left out.
_HAN = (
    "\u3005-\u3007\u3021-\u3029\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_KANA = (
    "\u3031-\u3035\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\uff66-\uff9f\U0001aff0-\U0001affe\U0001b000-\U0001b167"
)
_HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa0-\uffdc"
_THAI, _LAO = "\u0e01-\u0e3a\u0e40-\u0e4e", "\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"
_KHMER = "\u1780-\u17d3\u17d7\u17dc\u17dd"
_BURMESE = (
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a-\uaa7f"
)
_ALONE = _HAN + _KANA + _HANGUL + _THAI + _LAO + _KHMER + _BURMESE
ALONE = re.compile(f"[{_ALONE}]")
RUN = re.compile(r"\w+")
_COMPARED = re.compile(f"[{_ALONE}]|[^\\W{_ALONE}]+")


def stands_alone(character: str) -> bool:
    """Tell whether a character is a word of its own, written without spaces around it."""
    return any(first <= ord(character) <= last for first, last in LONE_RANGES)


def words(text: str) -> list[str]:
    """Return the words of `text`, in order."""
    return text.split() if text.isascii() else _WORD.findall(text)


def composed(text: str) -> str:
    """Return `text` in Unicode's composed form (NFC): an accent is stored in one way only."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def comparable(text: str) -> str:
    """Return `text` as it is cut into compared words: composed and in lower case."""
    return composed(text).lower()


def compared_words(text: str) -> list[str]:
    """Return the words by which `text` is compared with others, in order."""
    pattern = RUN if text.isascii() else _COMPARED
    return pattern.findall(comparable(text))


def compared_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the words of `text` as it is stored begin and end."""
    pattern = RUN if text.isascii() else _COMPARED
    return (match.span() for match in pattern.finditer(text))
