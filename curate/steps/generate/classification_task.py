"""Tell tasks that choose one of a few labels from all others (Self-Instruct's second stage)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Choose
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.row import Message, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.generate._tasks import task_of

_OPTIONS = ("Yes", "No")


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(Filter):
    """Score how likely a row's task is to choose one of a few known labels.

    `model` chooses between Yes and No after worked examples. `examples` is the number of examples
    of the prompt to show (by default all 31, 12 of them Yes). `prompt` is the name or path of the
    prompt file. The score is the probability of Yes, or 1 and 0 if the model returns no
    probabilities; `instances` uses it. `complete` sends the prompt as raw text, as the paper does;
    chat models get it as their only turn. An answer that is neither fails the row. Rows below
    `at_least` or above `at_most` are dropped, by default none.
    """

    model: str | None = None
    prompt: str = "classification_task"
    examples: int | None = None
    complete: bool = False
    at_least: float | None = rule(None)
    at_most: float | None = rule(None)

    source: ClassVar[str] = "Wang et al. 2022 (Self-Instruct), arXiv 2212.10560, section 2.2"

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        if self.examples is not None and self.examples < 0:
            raise ValueError(f"examples is {self.examples}; it must be 0 or more")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            found = prompts.load_with(self.prompt, ("task",))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and found.system is not None:
            raise ValueError(f"complete sends no system prompt, but {found.name} has one")

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def score(self, row: Row) -> Asking:
        """Ask once."""
        task = task_of(row).task.strip()
        if not task:
            raise ValueError("the row has no task to classify")
        prompt = prompts.load(self.prompt)
        shown = {"items": list(prompt.items[: self.examples])} if prompt.items else {}
        filled = prompt.render(task=task, **shown)
        raw = self.complete
        reply = yield Choose(
            model=self.model,
            messages=None if raw else (Message("user", filled.text),),
            prompt=filled.text if raw else None,
            system=None if raw else filled.system,
            options=_OPTIONS,
        )
        # The two options share the mass that they hold.
        yes, _ = reply.chances(_OPTIONS)
        return yes if reply.mass is None else Scored(yes, {"mass": reply.mass})

    def keep(self, score: float | None) -> str | None:
        """Compare the probability with the limits."""
        if score is None:
            return None
        if self.at_least is not None and score < self.at_least:
            return "no classification task"
        if self.at_most is not None and score > self.at_most:
            return "a classification task"
        return None
