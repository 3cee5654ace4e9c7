"""The expected score under a judge's token probabilities, instead of the one it happened to write.

G-Eval (Liu et al. 2023, arXiv 2303.16634) weighs each score by the probability of its token; the
sum is divided by the mass that lies on the scale, as in RLAIF (Lee et al. 2023, arXiv 2309.00267).
On a scale up to 10, a tokenizer may split "10": then the probability of "1" is that of both scores.
What the model was likely to write after a "1" tells them apart, where it wrote one. Elsewhere "1"
is left out while it hardly counts; beyond that the written score is taken, with a note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from curate.ask import Reply
from curate.errors import UnusableReply

# OpenAI's most; other servers allow fewer, and say so.
TOP = 20
HIGHEST = 10
# The share of a "1" that may be left out: that moves a score by a tenth at most, which is the share
# times the length of the scale.
NEGLIGIBLE = 0.01
AMBIGUOUS = '"1" may begin "10" here, so that the written score stands'

Top = Mapping[str, float]


class Expected(NamedTuple):
    """An expected score, and how much probability lay on the scale's tokens together.

    `plain` says why it is the score that was written, where it is that.
    """

    value: float
    mass: float
    plain: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger keeps of it."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def expected_score(
    reply: Reply, name: str, written: float, low: float, high: float, names: Sequence[str] = ()
) -> Expected:
    """Return the expectation of the score `name`, which the reply states as `written`."""
    try:
        keys = (name, *names)
        digits = f"{written:g}"
        if not reply.logprobs:
            raise ValueError("the model returned no log-probabilities; leave expectation out")
        tokens: list[Mapping[str, Any]] = list(reply.logprobs)
        text = "".join(str(one["token"]) for one in tokens)
        words = "|".join(re.escape(name) for name in keys)
        said = rf'"(?:{words})"\s*:\s*|(?im:^\W*(?:{words})\W+)|\[\[\s*|(?m:^\s*(?=\d{{1,2}}\s*$))'
        places = {found.end() for found in re.finditer(rf"(?:{said})(?={digits}(?!\d))", text)}
        if len(places) != 1:
            raise ValueError(f"its {keys[0]} {digits} is written in {len(places)} places, not one")
        place, ends = places.pop(), accumulate(len(str(one["token"])) for one in tokens)
        number = next((number for number, end in enumerate(ends) if place < end), None)
        if number is None:
            raise ValueError("its text and its tokens differ")
        token = str(tokens[number]["token"])
        if not re.fullmatch(r"\s*(?:\d|10)\s*", token):
            raise ValueError(f"its token is {token!r}, not a number")
        continued = token.strip() == "1" and token.endswith("1") and number + 1 < len(tokens)
        top, behind = _top(tokens[number]), _top(tokens[number + 1]) if continued else None
        return expectation(top, low, high, written, behind)
    except ValueError as error:
        raise UnusableReply(f"no expected score: {error}", key=reply.key) from error


def expectation(
    top: Top, low: float, high: float, written: float = 0.0, behind: Top | None = None
) -> Expected:
    """Return the mean of the scale's whole numbers under log-probabilities of tokens.

    `behind` are those at the next place, where a "1" was `written` at the first one.
    """
    chances: dict[int, float] = {}
    for token, value in top.items():
        # Tokens that differ only in the space before them are the same score.
        digits = token.strip()
        if digits.isascii() and digits.isdigit() and str(int(digits)) == digits:
            chances[int(digits)] = chances.get(int(digits), 0.0) + math.exp(value)
    plain = None
    # Share the probability of "1" between 1 and 10, unless "10" is a token of its own.
    if high >= HIGHEST and 1 in chances and HIGHEST not in chances:
        one = chances.pop(1)
        if behind is not None:
            zero = [value for token, value in behind.items() if re.match(r"0(?!\d)", token)]
            end = [value for token, value in behind.items() if not token[:1].isdigit()]
            chances[HIGHEST] = one * math.fsum(map(math.exp, zero))
            chances[1] = one * math.fsum(map(math.exp, end))
        elif one > NEGLIGIBLE * (one + math.fsum(chances.values())):
            plain = AMBIGUOUS
    kept = {score: chance for score, chance in sorted(chances.items()) if low <= score <= high}
    mass = math.fsum(kept.values())
    if plain is not None:
        return Expected(written, min(mass, 1.0), plain)
    if not mass:
        raise ValueError("no token of the scale has a probability")
    total = math.fsum(score * chance for score, chance in kept.items())
    return Expected(total / mass, min(mass, 1.0))


def _top(one: Mapping[str, Any]) -> Top:
    # The list goes first: tokens with one text are summed in it.
    return {str(one["token"]): one["logprob"], **one["top"]}
