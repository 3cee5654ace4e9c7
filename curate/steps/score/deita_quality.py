"""Score how good answers are, as DEITA's quality scorer does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.row import RESPONSE_FIELD, Row
from curate.steps.score._deita import AnsweredTurn, DeitaScorer, exchanges_of


@dataclass(frozen=True, kw_only=True)
class DeitaQuality(DeitaScorer):
    """Score how good an answer is, from 1 to 6, as the expectation over the score tokens.

    `model` sees an instruction with its answer and chooses a digit; the score is the mean of 1 to
    6, weighted by the probabilities of their tokens. In a dialogue, each exchange is scored
    separately. `turns` selects the `sum` or the `mean` of these scores; the ledger records each. If
    a model returns no log-probabilities, or not those of all six tokens, the row fails (DEITA's
    code uses 3.0). `prompt` is the name or path of another prompt, which may use `instruction`,
    `response` and `mark`. `complete` sends it as raw text followed by the score token, for small
    models and DEITA's published scorers. Rows that score below `at_least` are dropped.
    """

    prompt: str = "deita_quality"

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "deita_quality_brief",
        "complete": True,
    }
    source: ClassVar[str] = "Liu et al. 2023 (DEITA), arXiv 2312.15685, section 2.3"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def exchanges(self, row: Row) -> list[AnsweredTurn]:
        """Return the exchanges of a row, each with its answer."""
        return exchanges_of(row, answered=True)
