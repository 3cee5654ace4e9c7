"""Score answers directly by a model's ratings, as direct RLAIF does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.prompts import prompt as prompts
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._deita import AnsweredTurn, check_prompt, choice_of_score, expected_of
from curate.steps.score._judge import asked_and_answered


@dataclass(frozen=True, kw_only=True)
class RlaifScore(Filter):
    """Score an answer from -1 to 1 by a model's ratings, weighted by probability (d-RLAIF).

    `model` chooses a whole number from 1 to `scale`; the mean, weighted by the probabilities of
    their tokens, is rescaled so that 1 becomes -1 and the highest number 1. In a dialogue, the last
    answer is rated, after all turns before it. If a model returns no log-probabilities, or not
    those of all numbers, the row fails. `scale` is the highest number: each must be one token of
    the model, so for Qwen, where 10 is two, it is 9. `prompt` is the name or path of the prompt
    file. `complete` sends it as raw text to be completed, for small models. Rows that score below
    `at_least` are dropped; the ledger has the mean before rescaling.
    """

    model: str | None = None
    prompt: str = "rlaif_score"
    scale: int = 10
    complete: bool = False
    at_least: float | None = rule(None)

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "rlaif_score_brief",
        "scale": 9,
        "complete": True,
    }
    source: ClassVar[str] = "Lee et al. 2023 (RLAIF), arXiv 2309.00267, section 2.2.2"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody, and limits that nothing can meet."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        if self.scale < 2:
            raise ValueError(f"scale is {self.scale}; it is the highest rating, 2 or more")
        if self.at_least is not None and not -1 <= self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least:g}; scores are from -1 to 1")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        check_prompt(self.prompt, complete=self.complete)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def score(self, row: Row) -> Asking:
        """Ask for a rating of the last answer."""
        ratings = tuple(str(number) for number in range(1, self.scale + 1))
        exchange = AnsweredTurn(*asked_and_answered(row))
        reply = yield choice_of_score(
            self.model, self.prompt, exchange, complete=self.complete, scores=ratings
        )
        rating = expected_of(reply, ratings)
        rescaled = 2 * (rating.value - 1) / (self.scale - 1) - 1
        return Scored(rescaled, {"rating": rating.value, "mass": rating.mass})

    def keep(self, score: float | None) -> str | None:
        """Compare with `at_least`."""
        if score is not None and self.at_least is not None and score < self.at_least:
            return f"scored below {self.at_least:g}"
        return None
