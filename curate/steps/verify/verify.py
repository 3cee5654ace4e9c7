"""Check answers by rule: against a gold answer, a schema or constraints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from curate.kernels.verifiers.checkers import (
    CheckerName,
    check_options,
    require_checker,
    verify_reply,
)
from curate.kernels.verifiers.verification import VerifyOptions
from curate.row import Row
from curate.step import Filter, Scored, rule

# The columns that the benchmarks' own files have instead of one with the gold.
_COLUMNS = {
    "instructions": ("instruction_id_list", "kwargs"),
    "task": ("answer", "metadata"),
    "code": ("test", "entry_point", "test_list", "test_setup_code", "inputs", "outputs"),
}


@dataclass(frozen=True, kw_only=True)
class Verify(Filter):
    """Drop rows whose answer does not equal the gold answer, or does not match the row's schema.

    The score is the share of the checks passed, which is 1 or 0 except for the last three checkers.
    `checker` says how the response is compared: `number` (equal numbers; the number of a marked
    answer, else the last one), `math` (equal by value, as math-verify reads LaTeX and expressions),
    `choice` (the letter of an option), `exact` (the marked answer, else the whole text, after NFC
    normalisation and without surrounding white space), `json` (the response is JSON, bare or in a
    code fence, and valid under the gold schema), `instructions` (the constraints of IFEval and
    IFBench, or the columns `instruction_id_list` and `kwargs` of their own files), `code` (unit
    tests, or the columns `test`, `entry_point`, `test_list`, `inputs` ... of the benchmarks'
    files), `task` (the score of a family of reasoning-gym, whose entry is in the gold column, or in
    the columns `answer` and `metadata`). `gold` names the column with the gold answer; it may be a
    list, of which one has to agree. `tolerance` is the relative tolerance of `number`.
    `ignore_case` is for `exact`. `allow_code` permits `code`, whose programs run in a sandboxed
    process. A marked answer comes after `####` or `answer is`, on a line `A:`, or in `boxed`. Gold
    answers or responses that cannot be read fail the row: they are not wrong. `seconds` of
    processor time and `memory_mb` limit what one answer takes: beyond them a row fails, and a
    program of `code` is wrong. Rows below `min` are dropped.
    """

    checker: CheckerName = "exact"
    gold: str = "ground_truth"
    tolerance: float = 0.0
    ignore_case: bool = False
    seconds: float = 10.0
    memory_mb: int = 1024
    allow_code: bool = False
    min: float | None = rule(1.0)

    version: ClassVar[int] = 4
    kinds: ClassVar[tuple[str, ...]] = ("sft", "preference", "unpaired")
    source: ClassVar[str] = (
        "Cobbe et al. 2021 (GSM8K), arXiv 2110.14168; Kydlíček 2025 (Math-Verify); JSON Schema "
        "2020-12; Zhou et al. 2023 (IFEval), arXiv 2311.07911; Pyatkin et al. 2025 (IFBench), "
        "arXiv 2507.02833; Stojanovski et al. 2025 (Reasoning Gym), arXiv 2505.24760"
    )

    @property
    def options(self) -> VerifyOptions:
        """What the checker is told besides response and gold."""
        return VerifyOptions(
            tolerance=self.tolerance,
            ignore_case=self.ignore_case,
            seconds=self.seconds,
            memory_mb=self.memory_mb,
            allow_code=self.allow_code,
        )

    def check(self) -> None:
        """Reject limits that every answer, or none, would meet."""
        if self.min is not None and not 0 < self.min <= 1:
            raise ValueError(f"min is {self.min:g}; a share is above 0 and at most 1")
        check_options(self.checker, self.options)

    def prepare(self) -> None:
        """Raise where the checker needs a package that is not installed."""
        require_checker(self.checker)

    def score(self, row: Row) -> Scored:
        """Return the share passed, with what was compared."""
        extra = json.loads(row.extra) if row.extra else {}
        gold = extra.get(self.gold)
        if gold is None and self.checker in _COLUMNS:
            gold = {name: extra[name] for name in _COLUMNS[self.checker] if name in extra} or None
            if gold is not None and self.checker == "code":
                gold = {**gold, "prompt": row.instruction}
        if gold is None:
            there = ", ".join(extra) or "none"
            raise ValueError(f"column '{self.gold}' holds no gold answer; columns: {there}")
        share, evidence = verify_reply(self.checker, row.response, gold, self.options)
        return Scored(share, evidence)

    def keep(self, score: float | None) -> str | None:
        """Compare the share passed with the rule."""
        if score is not None and self.min is not None and score < self.min:
            return f"share passed below {self.min:g}"
        return None
