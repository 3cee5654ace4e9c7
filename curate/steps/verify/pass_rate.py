"""Keep the prompts that teach: those which a model answers rightly sometimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.prompts.replies.thought_tags import thought_of
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Figures, Generate, Made, Product, rule
from curate.steps.generate.respond import prompt_of
from curate.steps.verify._checked_answers import (
    CheckedAnswer,
    checked_answers,
    gold_of,
    ranked_of,
    respond_of,
    verifier_of,
)
from curate.steps.verify.verifiable import verifiable_columns
from curate.steps.verify.verify import Verify

# The column in which a prompt says how often its answers were right.
COLUMN = "pass_rate"


@dataclass(frozen=True, kw_only=True)
class PassRate(Generate):
    """Answer each prompt several times, verify the answers, and keep prompts within a window.

    `samples` is the number of answers per prompt. `model` gives them. `verify` is a checker of the
    step `verify`, by name or with its fields (`{checker: number, gold: answer}`). The gold answer
    is in the row's column `ground_truth`, or in the one that the checker's `gold` names; for a
    conversation without it, its own last answer is the gold. The pass rate is the share of answers
    that pass. `at_least` is the share of checks from which an answer passes. Rows with a pass rate
    below `min` or above `max` are dropped. These are rules: changing them sends no requests.
    Answers that cannot be read fail separately and are not counted. With `unreadable: wrong`, they
    count as wrong, as rewards in training do. A row fails if none of its answers can be read.

    `to` selects what is made of a row, one or several: `prompt`, as in `verifiable`, with the rate
    as `pass_rate`; `sft` (rejection sampling), a conversation with a verified answer; `ranked`, all
    answers as candidates with their shares as scores, from which `pairs` makes pairs of verified
    and wrong ones. `choose` selects the answer for `sft`: the `first`, the `best` by its share, the
    `shortest` in characters, or `all` distinct ones. `system`, `temperature`, `top_p` and
    `max_tokens` are those of `respond`; reasoning is kept apart from answers and is not verified.
    """

    model: str | None = None
    samples: int = 8
    verify: str | Mapping[str, Any] = "exact"
    to: tuple[Literal["prompt", "sft", "ranked"], ...] = ("prompt",)
    choose: Literal["first", "best", "shortest", "all"] = "first"
    unreadable: Literal["fail", "wrong"] = "fail"
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    min: float | None = rule(None)
    max: float | None = rule(None)
    at_least: float = rule(1.0)

    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    scores_made: ClassVar[bool] = True
    source: ClassVar[str] = (
        "rejection sampling: Yuan et al. 2023 (RFT), arXiv 2308.01825; windows of 0.1 to 0.6 and "
        "0.3 to 0.7 over 8 samples are in public recipes of reinforcement from verified answers"
    )

    def check(self) -> None:
        """Reject windows that no rate can lie in, and answers that nobody gives or checks."""
        if self.samples < 2:
            raise ValueError(f"samples is {self.samples}; a rate needs 2 or more")
        for name in ("min", "max"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value:g}; a rate is from 0 to 1")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}): no rate is between")
        if not 0 < self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least:g}; a share is above 0 and at most 1")
        if not self.to or len(set(self.to)) < len(self.to):
            raise ValueError("to names what is made, each once: prompt, sft, ranked")
        if self.choose != "first" and "sft" not in self.to:
            raise ValueError(f"choose: {self.choose} belongs to to: sft")
        respond_of(self).check()
        verifier_of(self.verify)

    def prepare(self) -> None:
        """Let the verifier see that it has what it needs."""
        verifier_of(self.verify).prepare()

    def fingerprint(self) -> dict[str, Any]:
        """Add the verifier's version: a checker that decides otherwise is another one."""
        return {**super().fingerprint(), "verify_version": Verify.version}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become what `to` names."""
        return frozenset(self.to) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask, verify, and make what is asked for of a row within the window."""
        verifier = verifier_of(self.verify)
        gold = gold_of(row, verifier)
        found = yield from checked_answers(respond_of(self), row, verifier, gold)
        readable = [answer for answer in found if answer.error is None]
        counted = found if self.unreadable == "wrong" else readable
        verified = [answer for answer in readable if (answer.share or 0.0) >= self.at_least]
        rate = len(verified) / len(counted)
        detail = {
            "verified": len(verified),
            "of": len(counted),
            "unreadable": len(found) - len(readable),
            "answers": [answer.shown() for answer in found],
        }
        figures = Figures(
            {
                "pass rate": rate,
                "never verified": float(rate == 0),
                "always verified": float(rate == 1),
                "unreadable answers": 1 - len(readable) / len(found),
            }
        )
        reason = ""
        if self.min is not None and rate < self.min:
            reason = f"pass rate below {self.min:g}"
        elif self.max is not None and rate > self.max:
            reason = f"pass rate above {self.max:g}"
        elif not verified and set(self.to) == {"sft"}:
            reason = "no verified answer"
        if reason:
            return [Drop(reason, rate, detail=detail), figures]
        made: list[Product] = []
        for kind in self.to:
            if kind == "ranked":
                records = [ranked_of(row, [(answer, answer.share) for answer in readable])]
            elif kind == "sft":
                chosen = (one.turn for one in chosen_of(verified, self.choose))
                turns = [(*prompt_of(row), turn) for turn in chosen]
                records = [Record("sft", {"messages": own}, row.extra) for own in turns]
            else:
                extra = verifiable_columns(row, verifier, gold, **{COLUMN: rate})
                records = [Record("prompt", {"prompt": prompt_of(row)}, extra)]
            for record in records:
                # The evidence stands with the first of them alone.
                made.append(Made(record, rate, None if made else detail))
        if self.unreadable == "fail":
            made += (answer.failed() for answer in found if answer.error is not None)
        return [*made, figures]


def chosen_of(answers: Sequence[CheckedAnswer], choose: str) -> list[CheckedAnswer]:
    """Return the answer that `choose` takes, or all of them that say something else."""
    if choose == "all":
        found: dict[tuple[str, str], CheckedAnswer] = {}
        for answer in answers:
            found.setdefault(_said(answer.turn), answer)
        return list(found.values())
    if choose == "best":
        answers = sorted(answers, key=lambda answer: -(answer.share or 0.0))
    elif choose == "shortest":
        answers = sorted(answers, key=lambda answer: sum(map(len, _said(answer.turn))))
    return list(answers[:1])


def _said(turn: Message) -> tuple[str, str]:
    """Return thoughts and answer of a turn, as they are compared."""
    return (" ".join((thought_of(turn) or "").split()), " ".join(turn.content.split()))
