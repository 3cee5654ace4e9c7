r"""The style of a text in numbers: the plain-Python definitions.

What is counted is counted in lower case, after composition (NFC), with the typewriter's apostrophe.

A *word* is a run of letters and digits, apostrophes inside included; of the scripts written without
spaces each letter is one. What marks a list item or a header at the start of a line (`- `, `1. `,
`## `) and what marks bold (`**`) is layout and neither a word nor punctuation. A *sentence* ends at
a full stop, question mark, exclamation mark or ellipsis, with closing quotes and brackets, before
white space; and at the end of every line. A full stop behind a single letter or a title
("e.g.", "Dr.") ends none. *Syllables* are groups of vowels, corrected by the patterns in
`english_style.json`: of the running words of 8,000 answers 98.7 % have as many as in CMUdict.

`kernels.text.style_compiled` counts the same in columns; tests hold the two equal.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from curate.kernels.text.words import ALONE, comparable

if TYPE_CHECKING:
    import numpy as np

Feature = Literal[
    "words",
    "type_token_ratio",
    "mtld",
    "flesch",
    "sentence_length",
    "word_length",
    "function_words",
    "punctuation",
    "list_items",
    "headers",
    "bold",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)
# McCarthy and Jarvis 2010 (10.3758/BRM.42.2.381): a factor is complete at a ratio of 0.72, 18 / 25.
THRESHOLD = 0.72
FACTOR_TYPES, FACTOR_WORDS = 25, 18
# Li et al. 2024 (SCAR, its code): a text is English if more than 70 % of its characters are Latin
# letters. Here it is 70 % of its letters, so that digits, code and white space do not count.
LATIN_SHARE = 0.7
OPENING_WORDS = 3
# Letters as syllables are counted in them: an accented e is sounded, all other letters are one.
ALPHABET = "abcdefghijklmnopqrstuvwxyz'E#"
VOWELS = "aeiouyE"
OTHER = ALPHABET.index("#")
# Code points up to here have a base letter of their own (Latin-1, Latin Extended A and B).
FOLDED = 0x250
ENDINGS, STOPS = ".!?…", "。！？"
CLOSERS = "\"')]}»”*_`」』）】〉》"

_LETTER = f"[^\\W_{ALONE.pattern[1:-1]}]"
_WORD = re.compile(f"{ALONE.pattern}|{_LETTER}+(?:'{_LETTER}+)*")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|[0-9]{1,3}[.)])[ \t]+")
_HEADER = re.compile(r"[ \t]*#{1,6}[ \t]+")
_BOLD = re.compile(r"\*{2,}")
_CLOSING = f"[{re.escape(ENDINGS + CLOSERS)}]*"
_ENDING = re.compile(f"([{re.escape(ENDINGS)}])({_CLOSING})(?:\\s|$)|[{STOPS}]")
_GROUP = re.compile(f"[{VOWELS}]+")


class StyleCounts(NamedTuple):
    """What the features of a text are made of.

    `forward` and `backward` count complete factors of MTLD in both directions, `_types` and
    `_words` what the incomplete last one holds. `lines` are those that are not blank.
    """

    words: int
    types: int
    characters: int
    letters: int
    latin: int
    syllables: int
    sentences: int
    function_words: int
    punctuation: int
    lines: int
    list_items: int
    headers: int
    bold: int
    forward: int
    forward_types: int
    forward_words: int
    backward: int
    backward_types: int
    backward_words: int


class StyleRules(NamedTuple):
    """The lists of `english_style.json`."""

    function_words: frozenset[str]
    abbreviations: frozenset[str]
    added: tuple[str, ...]
    removed: tuple[str, ...]


@functools.cache
def style_rules() -> StyleRules:
    """Return the lists of English that the counts use."""
    found = json.loads(Path(__file__).with_name("english_style.json").read_text("utf-8"))
    return StyleRules(
        frozenset(" ".join(found["function_words"].values()).split()),
        frozenset([*found["abbreviations"].split(), *ALPHABET[:26]]),
        tuple(found["syllables_added"]),
        tuple(found["syllables_removed"]),
    )


def style_text(text: str) -> str:
    """Return `text` as it is counted: composed, in lower case, with one sort of apostrophe."""
    return comparable(text).replace("’", "'")


def style_counts(text: str) -> StyleCounts:
    """Count what the style of `text` is made of."""
    rules, tokens = style_rules(), list[str]()
    sentences = punctuation = lines = items = headers = bold = 0
    for line in style_text(text).split("\n"):
        if not line.strip():
            continue
        item, header = _ITEM.match(line), _HEADER.match(line)
        marker = item or header
        body = line[marker.end() :] if marker else line
        lines, items, headers = lines + 1, items + bool(item), headers + bool(header)
        bold += len(_BOLD.findall(body)) // 2
        words = {match.end(): match[0] for match in _WORD.finditer(body)}
        tokens += words.values()
        ends = [
            match.start()
            for match in _ENDING.finditer(body)
            if match[1] != "."
            or words.get(match.start()) not in rules.abbreviations
            or any(character in ENDINGS for character in match[2])
        ]
        # A sentence is what lies between two ends and holds a word.
        sentences += len({sum(end <= stop for stop in ends) for end in words})
        rest = _WORD.sub(" ", _BOLD.sub(" ", body))
        punctuation += sum(unicodedata.category(c)[0] == "P" for c in rest)
    letters = [c for c in "".join(tokens) if c.isalpha()]
    return StyleCounts(
        len(tokens),
        len(set(tokens)),
        sum(len(word) - word.count("'") for word in tokens),
        len(letters),
        sum(c.isascii() for c in letters),
        sum(map(syllables, tokens)),
        sentences,
        sum(word in rules.function_words for word in tokens),
        punctuation,
        lines,
        items,
        headers,
        bold,
        *_factors(tokens),
        *_factors(reversed(tokens)),
    )


def opening(text: str) -> str:
    """Return the first three words of `text`, with a space between each two."""
    found: list[str] = []
    for line in style_text(text).split("\n"):
        marker = _ITEM.match(line) or _HEADER.match(line)
        found += _WORD.findall(line, marker.end() if marker else 0)
        if len(found) >= OPENING_WORDS:
            break
    return " ".join(found[:OPENING_WORDS])


@functools.lru_cache(maxsize=1 << 17)
def syllables(word: str) -> int:
    """Return the number of syllables of an English word in lower case, at least 1."""
    codes = letter_codes()
    folded = "".join(ALPHABET[codes[ord(c)] if ord(c) < FOLDED else OTHER] for c in word)
    rules, count = style_rules(), len(_GROUP.findall(folded))
    count += sum(re.search(pattern, folded) is not None for pattern in rules.added)
    count -= sum(re.search(pattern, folded) is not None for pattern in rules.removed)
    return max(1, count)


@functools.cache
def letter_codes() -> bytes:
    """Return the place in `ALPHABET` of the base letter of every code point below `FOLDED`."""
    codes = bytearray([OTHER] * FOLDED)
    for point in range(FOLDED):
        base = unicodedata.normalize("NFD", chr(point))[0].lower()
        if base in ALPHABET[:27]:
            codes[point] = ALPHABET.index("E" if base == "e" and point > 127 else base)
    return bytes(codes)


def _factors(tokens: Iterable[str]) -> tuple[int, int, int]:
    """Return the complete factors of MTLD, and the types and words of the rest."""
    factors, words = 0, 0
    types: set[str] = set()
    for token in tokens:
        words += 1
        types.add(token)
        if FACTOR_TYPES * len(types) <= FACTOR_WORDS * words:
            factors, words, types = factors + 1, 0, set()
    return factors, len(types), words


def style_features(counts: np.ndarray, min_words: int) -> np.ndarray:
    """Return the features of texts, a row of `FEATURES` each, NaN where a text has none.

    `counts` holds a row of `StyleCounts` for each text. A text without words has only its number
    of words; one below `min_words`, or in which no word is repeated, has no MTLD; one whose letters
    are not mostly Latin has neither Flesch's reading ease nor a share of function words.
    """
    import numpy as np

    of: Any = StyleCounts(*counts.astype(np.float64).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        words = np.where(of.words > 0, of.words, np.nan)
        english = np.where(of.latin > LATIN_SHARE * of.letters, 1.0, np.nan)
        both = []
        for whole, types, rest in (
            (of.forward, of.forward_types, of.forward_words),
            (of.backward, of.backward_types, of.backward_words),
        ):
            partial = np.where(rest > 0, (1 - types / rest) / (1 - THRESHOLD), 0.0)
            both.append(words / (whole + partial))
        mtld = (both[0] + both[1]) / 2
        mtld[(of.words < min_words) | (of.types == of.words)] = np.nan
        sentence_length, of_word = words / of.sentences, of.syllables / words
        # Flesch 1948, "A new readability yardstick".
        flesch = 206.835 - 1.015 * sentence_length - 84.6 * of_word
        columns = {
            "words": of.words,
            "type_token_ratio": of.types / words,
            "mtld": mtld,
            "flesch": flesch * english,
            "sentence_length": sentence_length,
            "word_length": of.characters / words,
            "function_words": of.function_words / words * english,
            "punctuation": of.punctuation / words,
            "list_items": np.where(of.words > 0, of.list_items / of.lines, np.nan),
            "headers": np.where(of.words > 0, of.headers / of.lines, np.nan),
            "bold": np.where(of.words > 0, of.bold / of.lines, np.nan),
        }
    return np.stack([columns[name] for name in FEATURES], axis=1)
