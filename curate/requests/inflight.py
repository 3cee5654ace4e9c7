"""Requests under way, and what a process has asked so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curate.ask import Reply, Request
from curate.models.model import Model


@dataclass
class RequestCounts:
    """What this process has asked: `sent` counts attempts, `failed` requests that got no reply.

    `asking` jobs were given to the driver, `answered` of them are done. `busy` attempts are under
    way; `causes` counts those that brought no reply. Of `texts` that had no vector `encoded` have.
    `batches` are the batch jobs under way: how many requests of each are done, of how many.
    """

    sent: int = 0
    replayed: int = 0
    failed: int = 0
    retried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    asking: int = 0
    answered: int = 0
    busy: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    texts: int = 0
    encoded: int = 0
    batches: dict[str, tuple[int, int]] = field(default_factory=dict)


class InFlight:
    """One request under way. `waiters` are told once it is resolved: with a reply, or an error."""

    __slots__ = (
        "attempt",
        "bound",
        "error",
        "key",
        "model",
        "reply",
        "request",
        "tries",
        "waiters",
    )

    def __init__(self, key: str, attempt: int, request: Request, model: Model, bound: int) -> None:
        self.key, self.attempt, self.request = key, attempt, request
        self.model, self.bound, self.tries = model, bound, 0
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.waiters: list[Any] = []

    @property
    def identity(self) -> str:
        """The identity under which the reply is stored."""
        return self.model.info.identity_for(self.request)
