"""The reply to a `Choose`, from the likely tokens at its place: variants are summed here alone.

A vocabulary often holds an option more than once: with a space before it and without, at the
beginning of a word or inside one, as a byte. Each is a token of its own, with a probability of its
own, and an option is as likely as all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from curate.ask import Reply

# The most that a model without log-probabilities is given to write one of several options.
CHOICE_TOKENS = 16
# What may be before an option inside its token: spaces, and how vocabularies spell them.
_BEFORE = " \t\r\n\u2581\u0120\u010a"


def spelt(token: str) -> str:
    """Return what a token spells, without the space before it."""
    return token.lstrip(_BEFORE)


def choice_reply(
    options: Sequence[str],
    likely: Iterable[tuple[str, float]],
    *,
    whole: bool = False,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> Reply:
    """Return the reply: the log-probability of each option, and the mass they hold together.

    Args:
        options: the options.
        likely: tokens as text, each with its log-probability; two tokens may have one text.
        whole: whether `likely` names every token that spells an option, however unlikely.
        input_tokens: what the prompt took.
        output_tokens: what the answer took.
    """
    found: dict[str, list[float]] = {}
    least = 0.0
    for token, value in likely:
        found.setdefault(spelt(token), []).append(math.exp(value))
        least = min(least, value)
    chances = [math.fsum(found.get(option.strip(), ())) for option in options]
    # Rounding may carry a sum over one.
    values = [math.log(min(one, 1.0)) if one > 0 else -math.inf for one in chances]
    floored: list[int] = []
    if not whole:
        floored = [number for number, one in enumerate(chances) if not one]
        values = [least if not one else value for one, value in zip(chances, values, strict=True)]
    best = max(range(len(values)), key=values.__getitem__)
    return Reply(
        text=options[best].strip(),
        values=tuple(values),
        mass=min(math.fsum(chances), 1.0),
        floored=tuple(floored),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def by_text(likely: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return log-probabilities by the text of tokens; of tokens with one text, their sum."""
    found: dict[str, float] = {}
    for text, value in likely:
        known = found.get(text)
        if known is not None:
            high, low = max(known, value), min(known, value)
            value = min(0.0, high + math.log1p(math.exp(low - high)))
        found[text] = value
    return found
