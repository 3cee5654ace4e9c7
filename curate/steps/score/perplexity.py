"""Score rows by how likely a language model finds a text of theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from curate.ask import Likelihood
from curate.row import On, Row
from curate.step import Asking, Filter, Scored, rule


@dataclass(frozen=True, kw_only=True)
class Perplexity(Filter):
    """Score the perplexity of a row's text, alone, under a causal language model.

    The score is exp of the mean negative log-probability (natural logarithm) of the text's tokens
    after the begin-of-text token: no chat template, no end token. If a model has no such token, the
    first token is omitted, since nothing precedes it. A text without a token has no score. `on`
    selects the text. Rows below `min` or above `max` are dropped; memorised text is low, broken
    text is high.
    """

    model: str | None = None
    on: On = "response"
    min: float | None = rule(None)
    max: float | None = rule(None)

    source: ClassVar[str] = "Jelinek et al. 1977; Wenzek et al. 2019 (CCNet), arXiv 1911.00359"

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def score(self, row: Row) -> Asking:
        """Ask for the log-probabilities of the text's tokens."""
        text = row.text(self.on)
        if not text.strip():
            return Scored(None)
        reply = yield Likelihood(model=self.model, messages=(), answer=text)
        if not reply.values:
            return Scored(None)
        loss = -math.fsum(reply.values) / len(reply.values)
        return Scored(math.exp(min(loss, 700.0)), {"loss": loss, "tokens": len(reply.values)})

    def keep(self, score: float | None) -> str | None:
        """Compare with `min` and `max`."""
        if score is not None and self.min is not None and score < self.min:
            return f"perplexity below {self.min:g}"
        if score is not None and self.max is not None and score > self.max:
            return f"perplexity above {self.max:g}"
        return None
