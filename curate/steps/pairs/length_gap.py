"""Keep pairs whose two answers are of about the same length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import Row
from curate.step import Verdicts, Whole, rule
from curate.steps.pairs._answers import measure_of, unit_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class LengthGap(Whole):
    """Drop preference pairs whose answers differ too much in length.

    People and models alike prefer longer answers, and a model trained on such pairs learns to write
    long ones. The score is the length of the chosen answer minus that of the rejected one, in words
    (a Chinese or Japanese character is one). `tokenizer`, a folder or a name on the Hugging Face
    Hub, counts its tokens instead. Pairs that differ by more than `within`, in either direction,
    are dropped; `within: null` only scores. The report has the mean gap and the share of pairs
    whose chosen answer is longer (a tie counts half), before and after.
    """

    tokenizer: str | None = None
    within: int | None = rule(50)

    source: ClassVar[str] = (
        "length balance of pairs as in Olmo 3 (2025); the bias: Dubois et al. 2024, "
        "arXiv 2404.04475"
    )
    kinds: ClassVar[tuple[str, ...]] = ("preference",)

    def check(self) -> None:
        """Reject a limit that no pair meets."""
        if self.within is not None and self.within < 0:
            raise ValueError(f"within is {self.within}; it must be 0 or more, or null")

    def prepare(self) -> None:
        """Load the tokenizer, where there is one."""
        measure_of(self.tokenizer)

    def sketch_types(self) -> dict[str, str]:
        """Keep the difference of the lengths."""
        return {"gap": "int64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Measure both answers."""
        measure = measure_of(self.tokenizer)
        chosen, rejected = (
            sum(measure(turn.text) for turn in side) for side in (row.chosen, row.rejected)
        )
        return {"gap": chosen - rejected}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Compare the gaps with the limit."""
        import numpy as np

        gap, unit = sketches.column("gap").to_numpy(), unit_of(self.tokenizer)
        code = np.full(len(gap), -1)
        if self.within is not None:
            code[np.abs(gap) > self.within] = 0
        figures: dict[str, float] = {}
        for when, own in (("before", gap), ("after", gap[code < 0])):
            figures[f"pairs {when}"] = float(len(own))
            if len(own):
                figures[f"length gap {when}, {unit}"] = float(own.mean())
                longer = np.count_nonzero(own > 0) + np.count_nonzero(own == 0) / 2
                figures[f"chosen longer {when}"] = float(longer / len(own))
        reason = f"the lengths differ by more than {self.within} {unit}"
        return Verdicts(code, (reason,), score=gap.astype(np.float64), figures=figures)
