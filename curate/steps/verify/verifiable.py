"""Make prompts of rows with a gold answer: what reinforcement from verified answers starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from curate.kernels.text.final_answers import final_answer, number_in
from curate.recipe.fields import plain
from curate.row import Message, Record, Row
from curate.step import Generate
from curate.steps.generate.respond import prompt_of
from curate.steps.verify._checked_answers import gold_of, share_passed, verifier_of
from curate.steps.verify.verify import Verify

# Fields of a verifier that say nothing of how it decides.
_NO_OPTIONS = ("checker", "min", "gold", "only")
# Checkers that compare with an answer: its gold may be the last words of a whole solution.
_MARKED = ("number", "math", "choice", "exact")


@dataclass(frozen=True, kw_only=True)
class Verifiable(Generate):
    """Make a prompt with its gold answer and the name of its checker, to export as grpo or verl.

    `verify` is a checker of the step `verify`, by name or with its fields. The gold answer is in
    the column `ground_truth`, or in the one that the checker's `gold` names; for a conversation
    without it, it is the last answer. The new prompt has it as `ground_truth`: only the marked
    answer of a whole solution, and for a number its plain digits, which other trainers' verifiers
    compare; and the checker as `verifier`. A row fails if the checker cannot read its gold answer,
    or does not accept that as an answer.
    """

    verify: str | Mapping[str, Any] = "exact"

    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    source: ClassVar[str] = "Lambert et al. 2024 (Tulu 3), arXiv 2411.15124, section 6"

    def check(self) -> None:
        """Reject a verifier that is none."""
        verifier_of(self.verify)

    def prepare(self) -> None:
        """Let the verifier see that it has what it needs."""
        verifier_of(self.verify).prepare()

    def fingerprint(self) -> dict[str, Any]:
        """Add the verifier's version."""
        return {**super().fingerprint(), "verify_version": Verify.version}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become prompts."""
        return frozenset({"prompt"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Record:
        """Return the prompt with its gold answer."""
        verifier = verifier_of(self.verify)
        gold = gold_of(row, verifier)
        if gold is None:
            raise ValueError(f"the row has no gold answer: neither '{verifier.gold}' nor an answer")
        for one in gold if isinstance(gold, list) else [gold]:
            if verifier.checker in _MARKED and isinstance(one, str):
                share, _ = share_passed(verifier, row, Message("assistant", one), gold)
                if share < 1:
                    raise ValueError(f"the checker does not accept the gold answer: {one[-80:]!r}")
        return Record("prompt", {"prompt": prompt_of(row)}, verifiable_columns(row, verifier, gold))


def verifiable_columns(row: Row, verifier: Verify, gold: Any, **more: Any) -> str:
    """Return a row's extra columns with its gold answer, its checker and `more`, as JSON text."""
    # Not at the top: the list of steps would load the readers of all files.
    from curate.read.shapes.verified.gold import GOLD, VERIFIER

    columns = json.loads(row.extra) if row.extra else {}
    options = {k: v for k, v in plain(verifier.fields()).items() if k not in _NO_OPTIONS}
    fields = json.dumps({"checker": verifier.checker, **options}, sort_keys=True)
    written = {
        GOLD: plain_gold(verifier, gold),
        VERIFIER: fields if options else verifier.checker,
    }
    if columns.get(verifier.gold) == written[GOLD]:
        # It only changes its name; a whole solution stays under its own.
        del columns[verifier.gold]
    return json.dumps({**columns, **written, **more}, ensure_ascii=False)


def plain_gold(verifier: Verify, gold: Any) -> Any:
    """Return gold without what leads to it: the marked answer, of a number its digits."""
    if isinstance(gold, list):
        return [plain_gold(verifier, one) for one in gold]
    if verifier.checker not in _MARKED or not isinstance(gold, str | int | float):
        return gold
    text = gold if isinstance(gold, str) else json.dumps(gold)
    if verifier.checker == "number":
        found = number_in(text)
        if found is None:
            raise ValueError(f"the gold answer holds no number: {text[-80:]!r}")
        exact = float(found)
        if found.denominator == 1 or Fraction(repr(exact)) != found:
            return str(found)
        return repr(exact)
    marked = final_answer(text)
    return text if marked is None else marked
