"""Keep the best of several answers, ranked by one listwise request (Baize's self-distillation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.ask import Ask, Reply
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_until
from curate.prompts.replies.ranks import ranks_in
from curate.prompts.replies.usable_text import written
from curate.row import Candidate, Message, Record, Row
from curate.step import Asking, Generate, Made
from curate.steps.generate.respond import prompt_of


@dataclass(frozen=True, kw_only=True)
class Sdf(Generate):
    """Answer a prompt several times, have a judge rank the answers, and keep the best one.

    `model` gives `samples` answers at `temperature`, of at most `max_tokens` each. `judge` ranks
    them all in one reply, shown in an order drawn from the row's seed. `prompt` is the name or path
    of the prompt for that; without a schema, the reply is just the ranks ("2, 1, 3"). `repairs` is
    how often the judge is told what is wrong with its reply and asked again. `to: ranked` keeps all
    answers as candidates, each scored by how many it outranks; `to: sft` keeps only the best, the
    first of those that share the first rank. `complete` sends the prompt as raw text to be
    completed up to the end of the line, for small models that do not follow instructions. The
    ledger records the ranks and the rationale. The row fails if an answer is empty, cut off or a
    loop, or if there is not exactly one rank per answer.
    """

    model: str | None = None
    judge: str | None = None
    samples: int = 4
    to: Literal["sft", "ranked"] = "sft"
    prompt: str = "rank_answers"
    complete: bool = False
    repairs: int = 1
    temperature: float | None = 1.0
    max_tokens: int | None = 1024

    source: ClassVar[str] = "Xu et al. 2023 (Baize), arXiv 2304.01196, section 3.3 (SDF)"
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, or has nothing to choose from."""
        if not self.model or not self.judge:
            raise ValueError("model and judge must each name one of the recipe's models")
        if self.samples < 2:
            raise ValueError(f"samples is {self.samples}; to choose from, it must be 2 or more")
        if self.temperature == 0:
            raise ValueError("at temperature 0 all samples are one answer; raise it")
        if self.repairs < 0:
            raise ValueError(f"repairs is {self.repairs}; it must be 0 or more")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            found = prompts.load_with(self.prompt, ("instruction", "answers", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and (found.system is not None or found.schema is not None):
            raise ValueError(
                f"complete sends text and reads numbers, but the prompt '{found.name}' has a "
                "system prompt or a schema; give another, as rank_answers_brief"
            )

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that answer and rank."""
        return tuple(dict.fromkeys(name for name in (self.model, self.judge) if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations, or all become ranked answers."""
        return frozenset({self.to}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for the answers, then for their ranks."""
        prompt = prompt_of(row)
        if any(turn.attached for turn in prompt):
            raise ValueError(
                "the ranking shows texts, and this prompt has tool calls or media; leave such rows "
                "out, or let respond answer them"
            )
        replies: Sequence[Reply] = yield [
            Ask(
                model=self.model,
                sample=sample,
                messages=prompt,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            for sample in range(self.samples)
        ]
        answers = [written(reply, "an answer") for reply in replies]
        order = list(range(self.samples))
        row.random(self.title).shuffle(order)
        asked = "\n\n".join(f"{t.role}: {t.content}" for t in prompt)
        form = prompts.load(self.prompt)
        values = {
            "instruction": prompt[0].content if len(prompt) == 1 else asked,
            "answers": [answers[index] for index in order],
            "mark": prompts.mark_of(asked, *answers),
        }
        filled = form.render_from(values)
        found, _ = yield from ask_until(
            Ask(
                model=self.judge,
                messages=() if self.complete else (Message("user", filled.text),),
                prompt=filled.text if self.complete else None,
                stop=("\n",) if self.complete else (),
                system=filled.system,
                temperature=0.0,
                max_tokens=self.max_tokens,
                share=True,
            ),
            lambda text: ranks_in(text, form.schema, self.samples),
            repairs=self.repairs,
        )
        ranks = [0] * self.samples
        for index, rank in zip(order, found["ranks"], strict=True):
            ranks[index] = rank
        detail = {"ranks": ranks, "shown": order, "rationale": found.get("rationale")}
        outranked = [float(sum(other > rank for other in ranks)) for rank in ranks]
        if self.to == "ranked":
            candidates = tuple(
                Candidate((Message("assistant", answer),), score, self.model)
                for answer, score in zip(answers, outranked, strict=True)
            )
            record = Record("ranked", {"prompt": prompt, "candidates": candidates}, row.extra)
            return Made(record, detail=detail)
        best = ranks.index(min(ranks))
        turns = (*prompt, Message("assistant", answers[best]))
        return Made(Record("sft", {"messages": turns}, row.extra), outranked[best], detail)
