"""The filter that made MAGPIE's published datasets, and how much longer it makes the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# The reasons of the drops, in the order in which rules are tried.
QUALITY = "the quality of the instruction is below {:g}"
REWARD = "the reward is not above {:g}"
COLON = "the instruction ends with a colon"
LONGEST = "not among the {:,} longest answers"


@dataclass(frozen=True, kw_only=True)
class MagpieFilter(Whole):
    """Keep good instructions with a reward and the longest answers, as MAGPIE's authors did.

    The defaults are the authors'. `tag` is the label of the step with the quality. `at_least` is
    the minimum quality, 4 of 5 (good). `reward` is the label of the step with the reward; `reward:
    null` disables that rule. `above` is the reward that a row must exceed (-10). `colon: true`
    allows instructions that end in a colon. `count` is the number of rows to keep of those that are
    left, the longest answers first; length is that of the last answer in characters, and ties go to
    the earlier row. Preferring the longest is a bias towards long answers: `count: null` disables
    that rule, and the report shows how much it shifts the length. The authors' fourth rule,
    repetition by nearest neighbours, is the step `semantic` before this one.
    """

    tag: str = "tag"
    reward: str | None = "magpie"
    at_least: float = rule(4.0)
    above: float = rule(-10.0)
    colon: bool = rule(False)
    count: int | None = rule(300_000)

    source: ClassVar[str] = "Xu et al. 2024 (MAGPIE), arXiv 2406.08464, and the authors' code"
    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def check(self) -> None:
        """Reject a count of nothing."""
        if self.count is not None and self.count < 1:
            raise ValueError(f"count is {self.count}; it must be 1 or more, or null for all rows")

    def reads_scores(self) -> tuple[str, ...]:
        """Return the labels of the steps that tagged and rewarded."""
        return (self.tag,) if self.reward is None else (self.tag, self.reward)

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's scores and the length of its answer."""
        return {"quality": "float64", "reward": "float64", "colon": "bool", "length": "int64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the scores that the labels name."""
        for label in self.reads_scores():
            if row.scores.get(label) is None:
                raise ValueError(
                    f"the row has no score by '{label}'; let that step see all rows before this one"
                )
        return {
            "quality": row.scores[self.tag],
            "reward": None if self.reward is None else row.scores[self.reward],
            "colon": row.instruction.rstrip().endswith(":"),
            "length": len(row.response),
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Apply the rules, then keep the longest answers."""
        import numpy as np

        column = {name: sketches.column(name).to_numpy() for name in sketches.column_names}
        length = column["length"].astype(np.int64)
        code = np.full(len(length), -1, dtype=np.int64)
        if not self.colon:
            code[column["colon"].astype(bool)] = 2
        if self.reward is not None:
            code[~(column["reward"] > self.above)] = 1
        code[column["quality"] < self.at_least] = 0
        passing = np.flatnonzero(code < 0)
        if self.count is not None and len(passing) > self.count:
            order = np.argsort(-length[passing], kind="stable")
            code[passing[order[self.count :]]] = 3
        stages = {"all rows": length, "by rules": length[passing], "kept": length[code < 0]}
        means = {name: float(one.mean()) for name, one in stages.items() if len(one)}
        figures = {f"mean characters, {name}": mean for name, mean in means.items()}
        figures |= {
            f"median characters, {name}": float(np.median(one))
            for name, one in stages.items()
            if len(one)
        }
        remarks: tuple[str, ...] = ()
        if means.get("all rows") and "kept" in means:
            figures["length shift"] = means["kept"] / means["all rows"]
            remarks = (
                f"answers of kept rows have {means['kept']:,.0f} characters on average, those of "
                f"all rows {means['all rows']:,.0f}: {figures['length shift']:.2f} times as many "
                f"({means['by rules'] / means['all rows']:.2f} before the longest were chosen)",
            )
        reasons = (
            QUALITY.format(self.at_least),
            REWARD.format(self.above),
            COLON,
            LONGEST.format(self.count or 0),
        )
        return Verdicts(code, reasons, score=length.astype(float), remarks=remarks, figures=figures)
