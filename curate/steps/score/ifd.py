"""Score rows by instruction-following difficulty: how little the instruction helps the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from curate.ask import Likelihood
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._answer import answer_of


@dataclass(frozen=True, kw_only=True)
class Ifd(Filter):
    """Score the instruction-following difficulty (IFD) of a row's last answer.

    Two losses of the answer's tokens are compared: the mean negative log-probability (`loss`) given
    the turns before it, and without them. Given them, the answer follows the rendered chat up to
    the header of the assistant's turn; without them, it follows only the begin-of-text token,
    without a template. No end token counts; if a model has no begin-of-text token, the answer's
    first token is omitted from both. `ratio: loss` scores the ratio of the losses (Cherry), `ratio:
    perplexity` that of the perplexities (Superfiltering); the ledger records the loss, the token
    count and both parts. Above 1, the turns before the answer make it less likely, a sign that the
    two do not belong together. Rows above `max` (1) are dropped; `max: null` keeps them with a note
    in the ledger. Rows with high scores teach most: `top: {by: ifd}`.
    """

    model: str | None = None
    ratio: Literal["loss", "perplexity"] = "loss"
    max: float | None = rule(1.0)

    source: ClassVar[str] = (
        "Li et al. 2023 (Cherry), arXiv 2308.12032, section 2.2; Li et al. 2024 (Superfiltering), "
        "arXiv 2402.00530"
    )
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def score(self, row: Row) -> Asking:
        """Ask for the log-probabilities of the answer's tokens, with and without what is before."""
        before, answer = answer_of(row)
        if not before:
            raise ValueError("the row has nothing before its answer, so nothing can help it")
        if not answer.content.strip():
            return Scored(None)
        given, alone = yield [
            Likelihood(model=self.model, messages=turns, answer=answer.content)
            for turns in (before, ())
        ]
        count = min(len(given.values), len(alone.values))
        if not count:
            return Scored(None)
        with_turns = -math.fsum(given.values[-count:]) / count
        without = -math.fsum(alone.values[-count:]) / count
        detail = {"loss_given": with_turns, "loss_alone": without, "tokens": count}
        if self.ratio == "perplexity":
            value = math.exp(min(with_turns - without, 700.0))
        elif without == 0:
            return Scored(None, detail)
        else:
            value = with_turns / without
        if value > 1:
            detail["hinders"] = True
        return Scored(value, detail)

    def keep(self, score: float | None) -> str | None:
        """Compare with `max`."""
        if score is not None and self.max is not None and score > self.max:
            return f"the instruction does not help the answer (IFD above {self.max:g})"
        return None
