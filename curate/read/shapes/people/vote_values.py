"""What a vote says: which of two answers is better, and by how much.

Tools write it in many ways: the name of a column or its letter ("response_a", "A", "left", 1), four
levels ("A is slightly better"), or a number on a scale whose low end is the first answer (a Likert
scale). The strength is kept as a margin: of levels 3 for much, 2 for a plain "better", 1 for
slightly and 0 for negligibly better, as in Llama 2 (Touvron et al. 2023, arXiv 2307.09288, table
27); on a scale, the distance from its middle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.read.shapes.record_fields import kind_of, listed

Scale = tuple[float, float]
# What two columns are called at their ends that hold the two answers.
_ENDS = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))
_PLACES = ({"first", "left"}, {"second", "right"})
# What columns of answers are called, as the last word before such an end.
_ANSWERS = re.compile(
    r"(?:^|[\W_])(?:answer|response|completion|output|candidate|reply|summary|generation|option|"
    r"conversation|text|message)s?$",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"(.*?)[\W_]*(a|b|[012]|left|right|first|second)$", re.IGNORECASE)
_WORDS = re.compile(r"[^\W_]+")
_EVEN = {"tie", "tied", "equal", "equally", "same", "both", "neither", "draw", "unsure", "bothbad"}
_LEVELS: Mapping[str, float] = {
    **dict.fromkeys(("much", "significantly", "far", "strongly", "considerably"), 3.0),
    **dict.fromkeys(("slightly", "somewhat", "marginally", "weakly"), 1.0),
    **dict.fromkeys(("negligibly", "barely"), 0.0),
}
_PLAIN = {"better", "moderately", "clearly", "worse"}
# Words that add nothing. A vote with any other word is not guessed at.
_FILLING = {"is", "are", "the", "than", "to", "over", "about", "or", "and", "it", "they", "good"}
_FILLING |= {"wins", "prefer", "preferred", "preference", "model", "assistant", "no", "as", "bad"}
ALLOWED = (
    "a vote is the name of an answer's column or its end (A, 2, left), tie, a level (A is much "
    "better, better, slightly better, negligibly better), or a number on a scale that is stated "
    "(scale: 1-7)"
)


class VoteValue(NamedTuple):
    """Who wins (1 the first answer, -1 the second, 0 neither), and by how much, if that is said."""

    wins: int
    strength: float | None


def parse_scale(text: str) -> Scale:
    """Return the ends of a scale that is written `1-7` or `-3..3`.

    Raises:
        ValueError: it is not written so.
    """
    found = re.fullmatch(r"\s*(-?\d+)\s*(?:-|\.\.|to)\s*(-?\d+)\s*", str(text))
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError(f"a scale is written LOW-HIGH, as 1-7 or -3..3, found {text!r:.30}")
    return float(found[1]), float(found[2])


def sides_among(names: Sequence[str]) -> tuple[str, str]:
    """Return the two columns of `names` that hold the two answers, the first one first.

    Raises:
        ValueError: none do, or several; the message names them.
    """
    if "chosen" in names and "rejected" in names:
        return ("chosen", "rejected")
    ends: dict[str, dict[str, str]] = {}
    for name in names:
        if found := _SPLIT.fullmatch(name):
            ends.setdefault(found[1].lower(), {})[found[2].lower()] = name
    pairs = [
        (base, (own[one], own[two]))
        for base, own in ends.items()
        for one, two in _ENDS
        if one in own and two in own and (one != "0" or "2" not in own)
    ]
    answers = [pair for base, pair in pairs if _ANSWERS.search(base)]
    found_ = answers or [pair for _, pair in pairs]
    if len(found_) == 1:
        return found_[0]
    what = "; ".join(" and ".join(pair) for pair in found_) if found_ else ", ".join(names)
    raise ValueError(
        f"{'several pairs of columns' if found_ else 'no two columns'} can hold the two answers "
        f"({what}): call them response_a and response_b, or say which they are with --columns "
        "prompt=COLUMN,first=COLUMN,second=COLUMN,vote=COLUMN"
    )


def unwrapped(value: Any) -> Any:
    """Return what Label Studio's results hold: the only choice, side, rating or text of a list."""
    value = listed(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    for key in ("selected", "choices", "rating", "text", "number"):
        if isinstance(value, Mapping) and key in value:
            return unwrapped(value[key]) if key in ("choices", "text") else value[key]
    return value


def vote_value(value: Any, sides: tuple[str, str], scale: Scale | None = None) -> VoteValue:
    """Return what a vote about the answers in two columns says.

    Raises:
        ValueError: it says nothing that is known; the message says what is.
    """
    value = unwrapped(value)
    number = number_in(value)
    if number is not None and scale is not None:
        low, high = scale
        if not low <= number <= high:
            raise ValueError(f"the vote {number:g} lies outside its scale {low:g}-{high:g}")
        apart = (low + high) / 2 - number
        return VoteValue((apart > 0) - (apart < 0), abs(apart))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"a vote must be a string or a number, found {kind_of(value)}; {ALLOWED}")
    text = f"{value:g}" if isinstance(value, float) else str(value)
    words = [word.lower() for word in _WORDS.findall(text.replace("a bit", "slightly"))]
    own = [{word.lower() for word in _WORDS.findall(side)} for side in sides]
    ends = [_SPLIT.fullmatch(side) for side in sides]
    # What names a side: its place, its end, and what sets its column apart.
    named = [
        _PLACES[n] | (own[n] - own[1 - n]) | ({end[2].lower()} if end else set())
        for n, end in enumerate(ends)
    ]
    places = [side for word in words for side in (0, 1) if word in named[side]]
    level = next((_LEVELS[word] for word in words if word in _LEVELS), None)
    plain = bool(_PLAIN.intersection(words))
    known = named[0] | named[1] | own[0] | own[1] | {*_LEVELS} | _PLAIN | _EVEN | _FILLING
    strange = {*words} - known
    even = level == 0.0 or bool(_EVEN.intersection(words)) or words == ["no", "preference"]
    if not places and sides == ("chosen", "rejected") and (plain or level):
        places = [0]
    if strange or not (places or even) or ("no" in words and not even) or set(text) & set("<>=~"):
        raise ValueError(f"cannot tell what the vote {value!r:.60} says; {ALLOWED}")
    if even:
        return VoteValue(0, 0.0)
    strength = level if level is not None else 2.0 if plain else None
    return VoteValue(1 if (places[0] == 0) != ("worse" in words) else -1, strength)


def rated(said: Mapping[str, Any], sides: tuple[str, str]) -> VoteValue | None:
    """Return what two ratings say that are called after the two answers, where there are such."""
    numbers = {n: number_in(v) for n, v in said.items() if not isinstance(v, str)}
    ratings = [
        [v for name, v in numbers.items() if side.lower() in name.lower() and v is not None]
        for side in sides
    ]
    if any(len(own) != 1 for own in ratings):
        return None
    gap = ratings[0][0] - ratings[1][0]
    return VoteValue((gap > 0) - (gap < 0), abs(gap))


def question_among(given: Mapping[str, Sequence[Any]], sides: tuple[str, str]) -> str:
    """Return the one of several questions whose values, of one or several people, are all votes.

    Raises:
        ValueError: none is, or several are; the message says why, or which.
    """
    found, why = list[str](), "there is none"
    for name, values in given.items():
        try:
            for value in values:
                vote_value(value, sides)
            found.append(name)
        except ValueError as error:
            why = f"'{name}': {error}"
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"several things compare the answers: {', '.join(found)}; leave one in the export"
        if found
        else f"nothing says which answer is better; {why}"
    )


def strength_of(value: Any) -> float:
    """Return the strength in a column of its own: a level (much better), or a number.

    Raises:
        ValueError: it is neither.
    """
    number = number_in(value)
    if number is not None and number >= 0:
        return number
    words = [word.lower() for word in _WORDS.findall(value)] if isinstance(value, str) else []
    level = next((_LEVELS[word] for word in words if word in _LEVELS), None)
    if level is None and not any(word in _PLAIN for word in words):
        raise ValueError(
            f"a strength is much, better, slightly or negligibly (better), or a number from 0 on, "
            f"found {value!r:.40}"
        )
    return 2.0 if level is None else level


def number_in(value: Any) -> float | None:
    """Return a finite number, which a table may hold as a text, or `None`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) != float("inf") and number == number else None
