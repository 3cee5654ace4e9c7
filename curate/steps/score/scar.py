"""Rank rows by the consistency of their style, with a trained ranker (SCAR)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from curate.ask import Reward
from curate.kernels.arrays.groups import check_amount, first_of_groups
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Verdicts, Whole, rule
from curate.steps.score._answer import answer_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# The texts of a request, in the order in which a reply numbers those that were cut.
_SIDES = ("instruction", "response")


@dataclass(frozen=True, kw_only=True)
class Scar(Whole):
    """Rank rows by the style of their last answer, and keep the most consistent ones.

    `model` is a style ranker, `scar:FOLDER` from `curate train scar`. Answers of one author score
    alike; answers whose form or content is unexpected for the instruction score low. `count` is the
    number of rows to keep. `share` is the share to keep (rounded down, at least one). Rows that
    score below `at_least` are dropped; give at most one of the three. Scores have no absolute
    scale, so a threshold is valid for one ranker only. Ties go to the earlier row. The ledger names
    texts of which the ranker read only the beginning, and the report counts them. A row without an
    answer fails, and so does one with tool calls or media.
    """

    model: str | None = None
    count: int | None = rule(None)
    share: float | None = rule(None)
    at_least: float | None = rule(None)

    source: ClassVar[str] = "Li et al. 2024 (SCAR), arXiv 2406.10882"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody, or has two rules."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        check_amount(self.count, self.share)
        if self.at_least is not None and (self.count, self.share) != (None, None):
            raise ValueError("at_least is given with count or share; one of the three decides")

    def sampled(self, part: float) -> Whole:
        """Ask for a part of the count; a share and a threshold stay what they are."""
        return self if self.count is None else replace(self, count=math.ceil(self.count * part))

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's score, and which of its texts were cut."""
        return {"score": "float64", "cut": "list<int64>"}

    def sketch(self, row: Row) -> Asking:
        """Ask for the score of the row's last answer."""
        before, answer = answer_of(row)
        reply = yield Reward(model=self.model, messages=(*before, answer))
        return {"score": float(reply.values[0]), "cut": list(reply.cut)}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Rank the rows and keep the first ones, or those that reach the threshold."""
        import numpy as np
        import pyarrow as pa

        score = np.asarray(sketches.column("score").to_numpy(), np.float64)
        if self.at_least is not None:
            kept, reason = score >= self.at_least, f"style score below {self.at_least:g}"
        else:
            one = pa.chunked_array([pa.array([""] * len(score), pa.string())])
            kept = first_of_groups(one, -score, self.count, self.share)
            amount = f"{self.share:.4g} share" if self.share is not None else f"{self.count}"
            reason = f"not among the {amount} of most consistent style"
        cut = sketches.column("cut").to_pylist()
        figures = {"texts cut": float(sum(map(len, cut)))}
        for name, some in (("all rows", score), ("kept", score[kept])):
            if len(some):
                figures |= {
                    f"mean score, {name}": float(some.mean()),
                    f"deviation of scores, {name}": float(some.std()),
                }
        details = [{"cut": [_SIDES[n] for n in sides]} if sides else None for sides in cut]
        return Verdicts(
            np.where(kept, -1, 0), (reason,), score=score, details=details, figures=figures
        )
