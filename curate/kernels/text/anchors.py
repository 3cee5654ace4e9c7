"""Three bytes that every match of a search holds, so that most texts need no search at all.

Comparing three neighbouring bytes with constants is what processors do fastest: an anchor costs a
tenth of what RE2 does on the same text. A search whose alternatives need more than a few anchors,
or only common ones, goes without. `trigrams.json` says how often three characters stand together
in a million of the English of the examples that may be passed on (GPTeacher, GSM8K, OASST).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST = 6
# An anchor that stands for every byte outside ASCII.
OUTSIDE = b""
_SIZE = 3
# Above this rate most texts of a few hundred characters hold an anchor, and the pass is lost.
_TOO_COMMON = 2000
_PASS = 50
# With case ignored, Python folds letters outside ASCII onto these.
_FOLDED_ONTO = frozenset(b"iks")
_REPEATS = re.compile(r"(?:[?*+]|\{\d+(?:,\d*)?\})\??")


def anchors_of(alternatives: Iterable[Sequence[str]], *, ignore_case: bool) -> tuple[bytes, ...]:
    """Return few anchors of which every match holds one; none at all if that cannot be had.

    An alternative is the literal runs that each of its matches holds.
    """
    choices = [_choices(runs, ignore_case) for runs in alternatives]
    found: list[bytes] = []
    while choices:
        if not all(choices) or len(found) == MOST:
            return ()
        worth = {
            anchor: sum(anchor in some for some in choices) / (_PASS + _rate(anchor))
            for anchor in set[bytes]().union(*choices)
        }
        best = max(sorted(worth), key=worth.__getitem__)
        found.append(best)
        choices = [some for some in choices if best not in some]
    if sum(map(_rate, found)) > _TOO_COMMON:
        return ()
    if ignore_case and any(_FOLDED_ONTO & set(anchor) for anchor in found):
        found.append(OUTSIDE)
    return tuple(found)


def _choices(runs: Sequence[str], ignore_case: bool) -> set[bytes]:
    """Return all anchors of one alternative, their ASCII letters in lower case."""
    out = set()
    for run in runs:
        for start in range(len(run)):
            # Three characters, or one Chinese one, whose bytes are three too.
            for end in (start + 1, start + _SIZE):
                piece = run[start:end]
                data = piece.encode().lower()
                cased = not piece.isascii() and piece.lower() != piece.upper()
                if len(data) == _SIZE and not (ignore_case and cased):
                    out.add(data)
    return out


@functools.cache
def _rates() -> dict[str, int]:
    rates: dict[str, int] = json.loads(Path(__file__).with_name("trigrams.json").read_text("ascii"))
    return rates


def _rate(anchor: bytes) -> int:
    """Return how often an anchor occurs in a million characters (rarer ones: a guess)."""
    return _rates().get(anchor.decode("latin-1"), 20)


def literal_runs(pattern: str) -> list[list[str]]:
    """Return the alternatives of a pattern for RE2, as the literal runs that each holds.

    A group or a class is not a literal, and ends the run.
    """
    alternatives: list[list[str]] = [[""]]
    at = 0
    while at < len(pattern):
        if pattern[at] == "|":
            alternatives.append([""])
            at += 1
            continue
        character = pattern[at]
        if character == "\\":
            piece, at = "" if pattern[at + 1].isalnum() else pattern[at + 1], at + 2
        elif character in "([":
            piece, at = "", _closing(pattern, at) + 1
        else:
            piece, at = "" if character in ".^?" else character, at + 1
        repeat = _REPEATS.match(pattern, at)
        runs = alternatives[-1]
        if piece and not (repeat and repeat[0][0] != "+"):
            runs[-1] += piece
        if repeat or not piece:
            runs.append("")
        at = repeat.end() if repeat else at
    return alternatives


def _closing(pattern: str, at: int) -> int:
    """Return where the group or class that opens here closes."""
    if pattern[at] == "[":
        while pattern[at] != "]":
            at += 2 if pattern[at] == "\\" else 1
        return at
    at += 1
    while pattern[at] != ")":
        if pattern[at] in "([":
            at = _closing(pattern, at)
        at += 2 if pattern[at] == "\\" else 1
    return at
