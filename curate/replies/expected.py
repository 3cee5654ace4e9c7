"""The expected score under a judge's token probabilities, instead of the one it happened to write.

G-Eval (Liu et al. 2023, arXiv 2303.16634) weighs each score by the probability of its token; the
sum is divided by the mass that lies on the scale, as in RLAIF (Lee et al. 2023, arXiv 2309.00267).
A score must be a single digit: some tokenizers split "10", and then the probability of "1" says
nothing certain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.ask import Reply
from curate.errors import UnusableReply

# OpenAI's most; other servers allow fewer, and say so.
TOP = 20


class Expected(NamedTuple):
    """An expected score, and how much probability lay on the scale's tokens together."""

    value: float
    mass: float


def expected_score(
    reply: Reply, name: str, written: float, low: float, high: float, names: Sequence[str] = ()
) -> Expected:
    """Return the expectation of the score `name`, which the reply states as `written`."""
    try:
        top = _top_of_score(reply, (name, *names), f"{written:g}")
    except ValueError as error:
        raise UnusableReply(f"no expected score: {error}", key=reply.key) from error
    return expectation(top, low, high)


def expectation(top: Mapping[str, float], low: float, high: float) -> Expected:
    """Return the mean of the scale's whole numbers under log-probabilities of tokens."""
    chances: dict[int, float] = {}
    for token, value in top.items():
        # Tokens that differ only in the space before them are the same score.
        digit = token.strip()
        if digit.isascii() and digit.isdigit() and low <= int(digit) <= high:
            chances[int(digit)] = chances.get(int(digit), 0.0) + math.exp(value)
    mass = math.fsum(chances.values())
    if not mass:
        raise ValueError("no token of the scale has a probability")
    total = math.fsum(score * chance for score, chance in sorted(chances.items()))
    return Expected(total / mass, min(mass, 1.0))


def _top_of_score(reply: Reply, names: Sequence[str], written: str) -> Mapping[str, float]:
    """Return the likeliest tokens at the place where the score was written."""
    if not reply.logprobs:
        raise ValueError("the model returned no log-probabilities; leave expectation out")
    tokens: list[Mapping[str, Any]] = list(reply.logprobs)
    text = "".join(str(one["token"]) for one in tokens)
    words = "|".join(re.escape(name) for name in names)
    said = rf'"(?:{words})"\s*:\s*|(?im:^\W*(?:{words})\W+)|\[\[\s*|(?m:^\s*(?=\d\s*$))'
    places = {found.end() for found in re.finditer(rf"(?:{said})(?={written}(?!\d))", text)}
    if len(places) != 1:
        raise ValueError(f"its {names[0]} {written} is written in {len(places)} places, not one")
    return _top_at(tokens, places.pop())


def _top_at(tokens: Sequence[Mapping[str, Any]], place: int) -> Mapping[str, float]:
    begin = 0
    for one in tokens:
        token = str(one["token"])
        if begin <= place < begin + len(token):
            if not re.fullmatch(r"\s*\d\s*", token):
                raise ValueError(f"its token is {token!r}, not a single digit")
            return {**one["top"], token: one["logprob"]}
        begin += len(token)
    raise ValueError("its text and its tokens differ")
