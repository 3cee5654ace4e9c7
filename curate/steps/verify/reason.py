"""Answer prompts with chains of thought, and take what most of them agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.thought_tags import inline, without
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Figures, Generate, Made, Product, rule
from curate.steps.generate.respond import prompt_of
from curate.steps.verify._checked_answers import (
    CheckedAnswer,
    checked_answers,
    gold_of,
    ranked_of,
    respond_of,
    share_passed,
    verifier_of,
)
from curate.steps.verify.pass_rate import chosen_of
from curate.steps.verify.verify import Verify

# Checkers whose gold is an answer: only such answers can agree with each other.
COMPARING = ("number", "math", "choice", "exact")


@dataclass(frozen=True, kw_only=True)
class Reason(Generate):
    """Answer a prompt by several chains of thought, and keep the answer that most of them reach.

    `prompt` names the prompt file into which the last user turn is put; the row keeps the original
    turn (`null`: send it unchanged, for reasoning models). `samples` is the number of answers per
    prompt. `verify` is the checker (a name, or the fields of the step `verify`) that reads the
    final answers; the largest group of equal ones wins, of equally large ones the first
    (self-consistency). Its share of the readable answers is the score. Rows with a share below
    `agreement` are dropped. If there is a gold answer, in the verifier's column or as the
    conversation's own last answer, the winner must equal it, or the row is dropped. `gold: none`
    votes without gold.

    `to: sft` makes a conversation of an answer of the winning group; `to: ranked` keeps all answers
    as candidates, scored by the share of their group. `choose` selects the answer for `sft`: the
    `first`, the `shortest` or `all` distinct ones. `thoughts` says where the reasoning goes:
    `apart` from the answer (as `reasoning_content`), `inline` before it (`<think>`), or nowhere
    (`none`); text without tags is the answer. Answers that cannot be read, or were cut off, fail
    separately. `system`, `temperature`, `top_p` and `max_tokens` are those of `respond`, and so is
    `model`.
    """

    model: str | None = None
    samples: int = 1
    verify: str | Mapping[str, Any] | None = None
    gold: Literal["own", "none"] = "own"
    prompt: str | None = "reason"
    to: Literal["sft", "ranked"] = "sft"
    choose: Literal["first", "shortest", "all"] = "first"
    thoughts: Literal["apart", "inline", "none"] = "apart"
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    agreement: float | None = rule(None)

    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    scores_made: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Wei et al. 2022, arXiv 2201.11903; self-consistency: Wang et al. 2022, arXiv 2203.11171, "
        "section 2 (unweighted majority)"
    )

    def check(self) -> None:
        """Reject votes that nobody counts, and rules that no answer meets."""
        respond_of(self).check()
        if self.agreement is not None and not 0 < self.agreement <= 1:
            raise ValueError(f"agreement is {self.agreement:g}; a share is above 0 and at most 1")
        if self.verify is None:
            if self.samples > 1:
                raise ValueError(
                    "several samples need verify, a checker that reads their final answers: one of "
                    f"{', '.join(COMPARING)}"
                )
            if self.agreement is not None:
                raise ValueError("agreement is of several samples, which need verify")
            return
        checker = verifier_of(self.verify).checker
        if self.samples > 1 and checker not in COMPARING:
            raise ValueError(
                f"answers read by {checker} cannot agree with each other; take samples: 1, or one "
                f"of the checkers {', '.join(COMPARING)}"
            )

    def prepare(self) -> None:
        """Read the prompt, and let the verifier see that it has what it needs."""
        if self.prompt is not None:
            try:
                prompts.load_with(self.prompt, ("instruction",))
            except CurateError as error:
                raise ValueError(str(error)) from None
        if self.verify is not None:
            verifier_of(self.verify).prepare()

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text, and the verifier's version."""
        text = None if self.prompt is None else prompts.digest(self.prompt)
        return {**super().fingerprint(), "prompt_text": text, "verify_version": Verify.version}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become what `to` names."""
        return frozenset({self.to}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask, let the answers vote, and make what is asked for of the winners."""
        verifier = None if self.verify is None else verifier_of(self.verify)
        gold = gold_of(row, verifier) if verifier is not None and self.gold == "own" else None
        asked = self._as_asked(row)
        check = verifier if gold is not None else None
        found = yield from checked_answers(respond_of(self), asked, check, gold)
        groups = [[answer for answer in found if answer.error is None]]
        if verifier is not None and self.samples > 1:
            found, groups = _votes(found, verifier, row)
        count = sum(map(len, groups))
        winners = max(groups, key=len)
        agreed = len(winners) / count
        detail = {
            "agreed": len(winners),
            "of": count,
            "unreadable": len(found) - count,
            "answers": [
                str((one.detail or {}).get("found") or one.turn.content[-80:]) for one, *_ in groups
            ],
            "votes": [len(group) for group in groups],
        }
        right = winners[0].share is None or winners[0].share >= 1
        figures = {"agreement": agreed}
        if gold is not None:
            figures["right"] = float(right)
        refused = "" if right else "not the gold answer"
        if not refused and self.agreement is not None and agreed < self.agreement:
            refused = f"agreement below {self.agreement:g}"
        if refused:
            return [Drop(refused, agreed, detail=detail), Figures(figures)]
        made: list[Product] = []
        if self.to == "ranked":
            shares = {id(answer): len(group) / count for group in groups for answer in group}
            own = [
                (answer._replace(turn=self._turn(answer.turn)), shares[id(answer)])
                for answer in found
                if answer.error is None
            ]
            made.append(Made(ranked_of(row, own), agreed, detail))
        else:
            for one in chosen_of(winners, self.choose):
                turns = (*prompt_of(row), self._turn(one.turn))
                record = Record("sft", {"messages": turns}, row.extra)
                made.append(Made(record, agreed, None if made else detail))
        failed = [answer.failed() for answer in found if answer.error is not None]
        return [*made, *failed, Figures(figures)]

    def _as_asked(self, row: Row) -> Row:
        """Return the row with its last user turn as the prompt file puts it."""
        if self.prompt is None:
            return row
        turns = list(prompt_of(row))
        if turns[-1].role != "user" or turns[-1].attached:
            raise ValueError(
                "the last turn of the prompt must be a user turn with text only, to be put into a "
                "prompt file; prompt: null sends it unchanged"
            )
        text = prompts.load(self.prompt).render(instruction=turns[-1].content).text
        turns[-1] = turns[-1]._replace(content=text)
        return row._replace(kind="prompt", fields={"prompt": tuple(turns)})

    def _turn(self, turn: Message) -> Message:
        """Return an answer's turn with its thoughts where they are wanted."""
        if self.thoughts == "apart":
            return turn
        return inline(turn) if self.thoughts == "inline" else without(turn)


def _votes(
    found: Sequence[CheckedAnswer], verifier: Verify, row: Row
) -> tuple[list[CheckedAnswer], list[list[CheckedAnswer]]]:
    """Return the answers, those that cannot be read marked, and the groups of equal ones.

    An answer joins the first group whose first answer the checker holds for equal, in the order in
    which groups began: where likeness is not transitive (a tolerance), the order decides.

    Raises:
        ValueError: no answer can be read; it is the first one's error.
    """
    answers: list[CheckedAnswer] = []
    groups: list[list[CheckedAnswer]] = []
    for answer in found:
        if answer.error is None:
            try:
                said = answer.turn.content
                # Against itself, so that what cannot be read is found.
                share_passed(verifier, row, answer.turn, said)
                own = next(
                    (
                        group
                        for group in groups
                        if share_passed(verifier, row, group[0].turn, said)[0] >= 1
                    ),
                    None,
                )
            except ValueError as error:
                answer = answer._replace(error=error)
            else:
                if own is None:
                    groups.append([answer])
                else:
                    own.append(answer)
        answers.append(answer)
    if not groups:
        raise next(answer.error for answer in answers if answer.error is not None)
    return answers, groups
