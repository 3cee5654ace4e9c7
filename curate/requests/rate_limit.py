"""At most so many requests and tokens a minute, where a recipe says so.

A bucket holds a second's worth and is filled evenly, so that no window of 60 seconds sees more than
the allowance. Tokens are estimated before a request is sent and corrected by its bill.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from curate.ask import Request
from curate.models.model import ModelInfo
from curate.store.budget import output_bound, prompt_bytes

# English text in the vocabularies of current models; only an estimate rests on it.
BYTES_PER_TOKEN = 4


class Bucket:
    """An allowance per minute; one request may overdraw it, and then it has to fill up first."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin full."""
        self.capacity = max(1.0, per_minute / 60)
        # What it holds and what flows into it within a minute make up the allowance.
        self.per_second = max(per_minute - self.capacity, per_minute / 2) / 60
        self._clock, self._level, self._seen = clock, self.capacity, clock()

    def wait(self, need: float) -> float:
        """Return the seconds until `need` may be taken."""
        missing = min(need, self.capacity) - self._filled()
        return max(0.0, missing / self.per_second)

    def take(self, amount: float) -> None:
        """Take `amount`, or give some back when it is negative."""
        self._level = min(self.capacity, self._filled() - amount)

    def _filled(self) -> float:
        now = self._clock()
        self._level += (now - self._seen) * self.per_second
        self._level, self._seen = min(self.capacity, self._level), now
        return self._level


class Rate:
    """What one model may be sent a minute."""

    def __init__(
        self,
        requests: float | None,
        tokens: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the allowances; `None` is not a limit."""
        self._requests = Bucket(requests, clock) if requests else None
        self._tokens = Bucket(tokens, clock) if tokens else None

    @classmethod
    def of(cls, info: ModelInfo, clock: Callable[[], float] = time.monotonic) -> Rate | None:
        """Return the rate of a model, or `None` when it has no limit."""
        requests, tokens = info.requests_per_minute, info.tokens_per_minute
        return cls(requests, tokens, clock) if requests or tokens else None

    @property
    def ahead(self) -> int:
        """How many attempts are worth making ready: a second's worth."""
        return int(self._requests.capacity) if self._requests else 1

    def wait(self, tokens: int) -> float:
        """Return the seconds until a request of so many tokens may be sent."""
        requests = self._requests.wait(1.0) if self._requests else 0.0
        return max(requests, self._tokens.wait(tokens) if self._tokens else 0.0)

    def take(self, tokens: int) -> None:
        """Count a request that is sent now."""
        if self._requests:
            self._requests.take(1.0)
        if self._tokens:
            self._tokens.take(tokens)

    def correct(self, estimated: int, used: int) -> None:
        """Replace an estimate by the tokens that the server counted."""
        if self._tokens and used:
            self._tokens.take(used - estimated)


def expected_tokens(request: Request) -> int:
    """Return about how many tokens a server counts for `request`: its prompt and `max_tokens`."""
    return prompt_bytes(request) // BYTES_PER_TOKEN + (output_bound(request) or 0)
