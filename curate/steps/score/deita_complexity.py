"""Score how complex instructions are, as DEITA's complexity scorer does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.row import KINDS, Row
from curate.steps.score._deita import AnsweredTurn, DeitaScorer, exchanges_of


@dataclass(frozen=True, kw_only=True)
class DeitaComplexity(DeitaScorer):
    """Score how complex an instruction is, from 1 to 6, as the expectation over the score tokens.

    `model` sees only the instruction and chooses a digit; the score is the mean of 1 to 6, weighted
    by the probabilities of their tokens. In a dialogue, each user turn is scored separately.
    `turns` selects the `sum` or the `mean` of these scores; the ledger records each. If a model
    returns no log-probabilities, or not those of all six tokens, the row fails (DEITA's code uses
    3.0). `prompt` is the name or path of another prompt, which may use `instruction` and `mark`.
    `complete` sends it as raw text followed by the score token, for small models and DEITA's
    published scorers. Rows that score below `at_least` are dropped.
    """

    prompt: str = "deita_complexity"

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "deita_complexity_brief",
        "complete": True,
    }
    source: ClassVar[str] = "Liu et al. 2023 (DEITA), arXiv 2312.15685, section 2.2"
    kinds: ClassVar[tuple[str, ...]] = tuple(KINDS)

    def exchanges(self, row: Row) -> list[AnsweredTurn]:
        """Return the exchanges of a row without their answers, which must not count."""
        found = exchanges_of(row, answered=False)
        return [one._replace(response="") for one in found]
