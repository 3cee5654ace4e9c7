"""Score rows by how surprising a language model finds the answer, given what was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from curate.ask import Likelihood
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._answer import answer_of


@dataclass(frozen=True, kw_only=True)
class Surprisal(Filter):
    """Score the surprisal of a row's last answer, given the turns before it.

    The score is the mean negative log-probability of the answer's tokens, in nats, after the
    rendered chat of all turns before it up to the header of the assistant's turn; no end token is
    added. An answer without a token has no score; a row without a turn before its answer, or with
    tool calls or media up to it, fails. Rows below `min` or above `max` are dropped.
    """

    model: str | None = None
    min: float | None = rule(None)
    max: float | None = rule(None)

    source: ClassVar[str] = "Li et al. 2024 (SCAR), arXiv 2406.10882, section 3"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def score(self, row: Row) -> Asking:
        """Ask for the log-probabilities of the answer's tokens."""
        before, answer = answer_of(row)
        if not before:
            raise ValueError("the row has nothing before its answer, so nothing is given")
        if not answer.content.strip():
            return Scored(None)
        reply = yield Likelihood(model=self.model, messages=before, answer=answer.content)
        if not reply.values:
            return Scored(None)
        loss = -math.fsum(reply.values) / len(reply.values)
        return Scored(loss, {"tokens": len(reply.values)})

    def keep(self, score: float | None) -> str | None:
        """Compare with `min` and `max`."""
        if score is not None and self.min is not None and score < self.min:
            return f"surprisal below {self.min:g}"
        if score is not None and self.max is not None and score > self.max:
            return f"surprisal above {self.max:g}"
        return None
