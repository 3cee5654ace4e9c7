r"""Count matches of phrases and regular expressions: Python's `re` defines, RE2 does the work.

RE2 reads a column ten times as fast as `re`, but knows other classes and folds: its `\w`, `\d`
and `\b` are ASCII, and its `\s` lacks five characters. So a pattern is translated into what both
read alike on ASCII text (or stays with `re` when it cannot be), and RE2's answer holds for ASCII
rows only. For phrases RE2 finds every row that `re` does, and only those are looked at again.
"""

from __future__ import annotations

import contextlib
import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from curate.errors import StoppedShort
from curate.kernels.text.anchors import anchors_of, literal_runs
from curate.kernels.text.words import composed, stands_alone
from curate.row import On
from curate.system.bounded_patterns import BoundedPattern, TooSlow, bounded_pattern

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

_ASCII_SPACE = r"\t-\r\x1c- "
_SPACE = (
    _ASCII_SPACE + r"\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)
# Python folds these onto i, and RE2 does not (both fold the long s and the Kelvin sign).
_DOTTED = r"[i\x{131}\x{130}]"
# What outside ASCII Python folds onto an ASCII letter.
_FOLDED = {"i": r"\x{131}\x{130}", "k": r"\x{212a}", "s": r"\x{17f}"}
_SAFE_ESCAPES = frozenset("wWdDnrtfv")
_REPEAT = re.compile(r"\{\d+(?:,\d*)?\}")
_REPEATED_GROUP = re.compile(r"(?<!\\)\)[*+?{]")
_EDGES = re.compile(r"\\[bB]|\^")
_CLASSES = re.compile(r"\\[a-zA-Z]")


class PatternSearch(NamedTuple):
    """A compiled pattern and what RE2 may do for it.

    `screen` is a pattern for RE2, or `None`. `counts`: its number of matches in an ASCII text is
    exact, not only whether there is one. `covers`: it misses no row, ASCII or not.
    Every match holds one of the `anchors`, if there are any, else one of the `phrases` as
    `automaton` reads them, if there are any.
    """

    pattern: re.Pattern[str]
    screen: str | None
    counts: bool
    covers: bool
    anchors: tuple[bytes, ...] = ()
    phrases: tuple[str, ...] = ()
    ignore_case: bool = False
    # What stands for the compiled pattern where a user wrote it, and it may take for ever.
    bounded: BoundedPattern | None = None

    def count(self, text: str) -> int:
        """Return the number of matches that do not overlap and are not empty.

        The text is read in its composed form (NFC), as the pattern is.

        Raises:
            StoppedShort: a pattern of the user's takes too long. Another machine might be fast
                enough, so this is no verdict about the row: the run ends.
        """
        if self.bounded is not None:
            try:
                return sum(end > start for start, end in self.bounded.spans(composed(text)))
            except TooSlow as error:
                begin = text[:60] + "..." * (len(text) > 60)
                raise StoppedShort(
                    f"{error}. The text begins {begin!r}. Nothing is published: a faster machine "
                    "might have got through"
                ) from error
        found = self.pattern.finditer(composed(text))
        return sum(match.end() > match.start() for match in found)


@functools.lru_cache
def phrase_search(
    phrases: tuple[str, ...], *, whole_words: bool, ignore_case: bool
) -> PatternSearch:
    """Return the search for any of `phrases`; a space in one matches any run of white space.

    With `whole_words` a phrase that begins or ends with a word character does so at a word's edge
    (Chinese and Japanese characters excepted).
    """
    phrases = tuple(map(composed, phrases))
    # The longest first, so that a phrase is not counted as a shorter one that begins it.
    ordered = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    pattern = "|".join(_plain(phrase, whole_words) for phrase in ordered)
    screen = "|".join(_screen(phrase, whole_words, ignore_case) for phrase in ordered)
    screen = ("(?i)" if ignore_case else "") + f"(?:{screen})"
    steady = all(p.isascii() or not ignore_case or p.lower() == p.upper() for p in phrases)
    anchors = anchors_of((phrase.split() for phrase in phrases), ignore_case=ignore_case)
    # The automaton folds ASCII only: another letter with two cases leaves the work to `re`.
    caseless = all(c.isascii() or c.lower() == c == c.upper() for c in "".join(phrases))
    plain = phrases if caseless or not ignore_case else ()
    compiled = re.compile(pattern, flags)
    return PatternSearch(
        compiled, screen if steady else None, True, steady, anchors, plain, ignore_case
    )


def _plain(phrase: str, whole_words: bool) -> str:
    """Return a phrase as a pattern of Python's."""
    # Only what other characters set apart from its neighbours has an edge.
    edges = [
        whole_words and re.match(r"\w", character) is not None and not stands_alone(character)
        for character in _ends(phrase)
    ]
    body = r"\s+".join(map(re.escape, phrase.split()))
    return r"\b" * edges[0] + body + r"\b" * edges[1]


def _ends(phrase: str) -> tuple[str, str]:
    inner = phrase.strip()
    return inner[0], inner[-1]


def _screen(phrase: str, whole_words: bool, ignore_case: bool) -> str:
    """Return a phrase as a pattern of RE2's that finds at least what Python's finds.

    RE2 sees no word's edge beside a letter outside ASCII, so such letters need none.
    """
    pieces = [
        f"[{_SPACE}]+" if c == " " else c if c.isalnum() else f"\\x{{{ord(c):x}}}"
        for c in " ".join(phrase.split())
    ]
    last = len(pieces) - 1
    first_edge, last_edge = (whole_words and re.match(r"[a-zA-Z0-9_]", c) for c in _ends(phrase))
    for place, character in {0: phrase.strip()[0], last: phrase.strip()[-1]}.items():
        before = r"\b" if place == 0 and first_edge else ""
        after = r"\b" if place == last and last_edge else ""
        others = _FOLDED.get(character.lower(), "") if ignore_case else ""
        rest = f"|(?-i:[{others}])" if others else ""
        pieces[place] = f"(?:{before}{pieces[place]}{after}{rest})"
    if ignore_case:
        pieces = [_DOTTED if piece in "iI" else piece for piece in pieces]
    return "".join(pieces)


@functools.lru_cache
def regex_search(pattern: str, *, ignore_case: bool, own: bool = False) -> PatternSearch:
    """Return the search for a regular expression in Python's syntax.

    One that is not part of this package (it is not our `own`) is searched in a bounded time.

    Raises:
        ValueError: a pattern of a user's is none.
    """
    pattern = composed(pattern)
    bounded = None if own else bounded_pattern(pattern, ignore_case=ignore_case)
    compiled = re.compile(pattern, re.IGNORECASE if ignore_case else re.NOFLAG)
    screen = re2_form(pattern)
    anchors: tuple[bytes, ...] = ()
    if screen is not None:
        anchors = anchors_of(literal_runs(pattern), ignore_case=ignore_case)
        screen = "(?i)" * ignore_case + screen
    # Whether there is a match is the same in both; how many is not where a repeated group can be
    # empty, nor behind an anchor: Arrow searches on in the rest of the text, as if it began there.
    counts = not _REPEATED_GROUP.search(pattern) and not _EDGES.search(pattern)
    # Without classes and edges (and without folded letters) both read any text alike.
    covers = not _CLASSES.search(pattern)
    if ignore_case:
        covers = covers and not any(map(str.isalpha, pattern))
    return PatternSearch(compiled, screen, counts, covers, anchors, bounded=bounded)


def re2_form(pattern: str) -> str | None:
    """Return a pattern that RE2 reads on ASCII text as Python does, or `None` if unsure."""
    if not pattern.isascii():
        return None
    try:
        # RE2 counts matches of the empty text, which are none here.
        if re.fullmatch(_EDGES.sub("", pattern), "") is not None:
            return None
    except re.error:
        return None
    out: list[str] = []
    at, inside = 0, False
    while at < len(pattern):
        token = _token(pattern, at, inside)
        if token is None:
            return None
        text, length = token
        if length == 1 and text in "[]":
            inside = text == "["
        out.append(text)
        at += length
    return "".join(out)


def _token(pattern: str, at: int, inside: bool) -> tuple[str, int] | None:
    """Return the next piece for RE2 and how much of `pattern` it covers; `None`: not safe."""
    character, following = pattern[at], pattern[at + 1 : at + 2]
    if character == "\\":
        if following == "s":
            return (_ASCII_SPACE if inside else f"[{_ASCII_SPACE}]"), 2
        if following == "S":
            return None if inside else (f"[^{_ASCII_SPACE}]", 2)
        if following in "bB":
            return None if inside or not following else ("\\" + following, 2)
        safe = following in _SAFE_ESCAPES or not following.isalnum()
        return ("\\" + following, 2) if safe else None
    if inside:
        return None if character in "[&|~" else (character, 1)
    if character == "(" and following == "?":
        return ("(?:", 3) if pattern[at + 2 : at + 3] == ":" else None
    if character == "{":
        repeat = _REPEAT.match(pattern, at)
        return (repeat[0], len(repeat[0])) if repeat else None
    if character == "[" and (following in ("]", "^]") or pattern[at + 1 : at + 3] == "^]"):
        return None
    return None if character in "$}" else (character, 1)


def count_matches(chunk: Chunk, on: On, search: PatternSearch) -> np.ndarray:
    """Return the number of matches in every text of a column, equal to `search.count`."""
    import numpy as np
    import pyarrow as pa

    from curate.kernels.text.normalize import composed_column

    texts = chunk.shared(("composed", on), lambda: composed_column(chunk.texts(on)))
    if search.anchors:
        from curate.kernels.text.anchors_compiled import texts_with

        mask = texts_with(texts, search.anchors)
    elif search.phrases:
        from curate.kernels.text.aho_corasick import texts_holding

        mask = texts_holding(texts, search.phrases, ignore_case=search.ignore_case)
    else:
        return _count(texts, search)
    out = np.zeros(len(texts), np.int64)
    where = np.flatnonzero(mask)
    out[where] = _count(texts.take(pa.array(where)), search)
    return out


def _count(texts: pa.StringArray, search: PatternSearch) -> np.ndarray:
    """Count with RE2, and again with `re` where RE2 may count otherwise."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    out, exact = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    work = pc.count_substring_regex if search.counts else pc.match_substring_regex
    # RE2 refuses what it cannot bound, such as x{2000}.
    with contextlib.suppress(pa.ArrowInvalid):
        if search.screen is not None:
            out = np.asarray(work(texts, search.screen)).astype(np.int64)
            nothing = out == 0
            exact = np.asarray(pc.string_is_ascii(texts)) & (nothing | search.counts)
            exact |= nothing & search.covers
    again = np.flatnonzero(~exact)
    if len(again):
        out[again] = [search.count(text) for text in texts.take(pa.array(again)).to_pylist()]
    return out
