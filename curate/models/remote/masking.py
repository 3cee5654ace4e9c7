"""What a server must not bring back: the key that it was sent, and the password of its proxy.

A reply is masked as steps will see it, put together: events, parts of a content and tokens may each
hold a piece of the key.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from curate.ask import Reply
from curate.system.credentials import MASK, SHORTEST_SECRET, masked, password_of, places_of


class Secrets:
    """The secrets of one server."""

    def __init__(self, key: str | None, proxy: str | None) -> None:
        """Take the key, and the proxy's address, whose password is meant."""
        given = (key, password_of(proxy) if proxy else None)
        self._all = tuple(one for one in given if one)
        # A shorter one is none, and replies hold it by chance: EMPTY, none.
        self._long = tuple(one for one in self._all if len(one) >= SHORTEST_SECRET)

    def masked(self, text: str) -> str:
        """Return a message without them."""
        return masked(text, *self._all)

    def masked_reply(self, reply: Reply) -> Reply:
        """Return a reply without them."""
        if not self._long:
            return reply
        hidden = replace(
            reply,
            text=masked(reply.text, *self._long),
            reasoning=masked(reply.reasoning, *self._long),
            finish_reason=masked(reply.finish_reason, *self._long),
            logprobs=self._masked_tokens(reply.logprobs) if reply.logprobs else (),
        )
        return reply if hidden == reply else hidden

    def _masked_tokens(self, tokens: tuple[Any, ...]) -> tuple[Any, ...]:
        """Mask the tokens that spell a secret together, without the likeliest in their places."""
        ends, end = list[int](), 0
        for one in tokens:
            end += len(str(one["token"]))
            ends.append(end)
        whole = "".join(str(one["token"]) for one in tokens)
        found = [place for secret in self._long for place in places_of(secret, whole)]
        hidden = list(tokens)
        for number, (one, end) in enumerate(zip(tokens, ends, strict=True)):
            begin = end - len(str(one["token"]))
            if any(begin < stop and start < end for start, stop in found):
                hidden[number] = {**one, "token": MASK, "top": {}}
            elif any(
                len(str(other)) >= SHORTEST_SECRET and masked(str(other), *self._long) != str(other)
                for other in one["top"]
            ):
                hidden[number] = {**one, "top": {}}
        return tuple(hidden)
