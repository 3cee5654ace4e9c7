"""Score rows by a reward model, and pairs by the difference of their rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.ask import Reward
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._answer import answer_of, template_options


@dataclass(frozen=True, kw_only=True)
class RewardScore(Filter):
    """Score the reward of a conversation up to its last answer, with a reward model.

    `model` is a sequence classifier (`hf:`), or a scorer registered by your own package. For a
    pair, the score is the reward of the chosen answer minus that of the rejected one, and the
    ledger records both: pairs that the model orders the other way score below 0. The chat template
    is given the row's columns `tools` and `chat_template_kwargs`, as in training. A row with tool
    calls or media fails, because only text is read. Rows that score below `at_least` are dropped.
    """

    model: str | None = None
    at_least: float | None = rule(None)

    source: ClassVar[str] = "Ouyang et al. 2022 (InstructGPT), arXiv 2203.02155, section 3.5"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def score(self, row: Row) -> Asking:
        """Ask for the reward of the conversation, or of both."""
        (before, answer), options = answer_of(row), template_options(row)
        if row.kind != "preference":
            turns = (*before, answer)
            reply = yield Reward(model=self.model, messages=turns, template_options=options)
            return Scored(float(reply.values[0]))
        if any(turn.attached for turn in row.rejected):
            raise ValueError("the rejected answer has tool calls or media, and only texts are read")
        replies = yield [
            Reward(model=self.model, messages=turns, template_options=options)
            for turns in ((*before, answer), (*row.prompt, *row.rejected))
        ]
        chosen, rejected = (float(reply.values[0]) for reply in replies)
        return Scored(chosen - rejected, {"chosen": chosen, "rejected": rejected})

    def keep(self, score: float | None) -> str | None:
        """Compare with `at_least`."""
        if score is not None and self.at_least is not None and score < self.at_least:
            return f"reward below {self.at_least:g}"
        return None
