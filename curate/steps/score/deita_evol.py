"""Score dialogues by complexity times quality, summed over their exchanges (DEITA)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Reply
from curate.prompts import prompt as prompts
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._deita import check_prompt, choice_of_score, exchanges_of, expected_of


@dataclass(frozen=True, kw_only=True)
class DeitaEvol(Filter):
    """Score complexity times quality, summed over the exchanges of a row (DEITA's evol score).

    `model` scores both from 1 to 6, as `deita_complexity` and `deita_quality` do. `quality_model`
    scores the answers instead. The requests are the same as those of the two steps, so nothing is
    paid twice if a recipe has these, too. The sum favours long dialogues; the ledger records both
    scores of every exchange. `complexity_prompt` and `quality_prompt` are the names or paths of
    other prompts. `complete` sends them as raw text followed by the score token. DEITA selects rows
    by this score: `repr_filter: {by: deita_evol, count: 6000}`. Rows that score below `at_least`
    are dropped.
    """

    model: str | None = None
    quality_model: str | None = None
    complexity_prompt: str = "deita_complexity"
    quality_prompt: str = "deita_quality"
    complete: bool = False
    at_least: float | None = rule(None)

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "complexity_prompt": "deita_complexity_brief",
        "quality_prompt": "deita_quality_brief",
        "complete": True,
    }
    source: ClassVar[str] = "Liu et al. 2023 (DEITA), arXiv 2312.15685, section 2.4"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def prepare(self) -> None:
        """Read both prompts, and reject those that take other variables."""
        for given in (self.complexity_prompt, self.quality_prompt):
            check_prompt(given, complete=self.complete)

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that score."""
        return tuple(dict.fromkeys(name for name in (self.model, self.quality_model) if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another judge under the same name."""
        texts = prompts.digest(self.complexity_prompt, self.quality_prompt)
        return {**super().fingerprint(), "prompt_text": texts}

    def score(self, row: Row) -> Asking:
        """Ask for both scores of all exchanges at once."""
        exchanges = exchanges_of(row, answered=True)
        asks = [
            choice_of_score(
                self.model,
                self.complexity_prompt,
                one._replace(response=""),
                complete=self.complete,
            )
            for one in exchanges
        ]
        asks += [
            choice_of_score(
                self.quality_model or self.model, self.quality_prompt, one, complete=self.complete
            )
            for one in exchanges
        ]
        replies: Sequence[Reply] = yield asks
        found = [expected_of(reply).value for reply in replies]
        complexity, quality = found[: len(exchanges)], found[len(exchanges) :]
        products = [c * q for c, q in zip(complexity, quality, strict=True)]
        return Scored(math.fsum(products), {"complexity": complexity, "quality": quality})

    def keep(self, score: float | None) -> str | None:
        """Compare with `at_least`."""
        if score is not None and self.at_least is not None and score < self.at_least:
            return f"scored below {self.at_least:g}"
        return None
