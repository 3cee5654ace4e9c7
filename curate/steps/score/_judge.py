"""What the judges share that read a score from a written reply: asking, sampling, the limit."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.ask import Ask, Reply, check_asking
from curate.prompts.prompt import Rendered
from curate.prompts.replies.objects import Asking as AskingTexts
from curate.prompts.replies.objects import ask_each_until, ask_until
from curate.row import RESPONSE_FIELD, Message, Row
from curate.step import Filter, Scored, rule

Found = tuple[Any, Reply]


@dataclass(frozen=True, kw_only=True)
class Judge(Filter):
    """Score an answer by what a model writes about it.

    Attributes:
        model: A name in the recipe's models.
        samples: How often each question is asked; the score is the mean of the samples.
        repairs: How often an unusable reply is answered with what is wrong with it.
        temperature: It goes before that of the model.
        max_tokens: It goes before that of the model.
        complete: The prompt is sent as raw text, to be completed up to the end of its line.
        at_least: Rows that score below it are dropped.
    """

    model: str | None = None
    samples: int = 1
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = None
    complete: bool = False
    at_least: float | None = rule(None)

    def check(self) -> None:
        """Reject a step that asks nobody, and limits that nothing can meet."""
        check_asking(
            self.model,
            repairs=self.repairs,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; it must be 1 or more")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("at temperature 0 all samples are one judgement; raise it, as to 0.7")

    def request(self, filled: Rendered) -> Ask:
        """Return the request with a prompt that is filled in."""
        return Ask(
            model=self.model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            stop=("\n",) if self.complete else (),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def asked(self, ask: Ask, parse: Callable[[str], Any]) -> AskingTexts:
        """Ask `samples` times; return what `parse` read in each reply, and the reply."""
        found: list[Found]
        if self.samples == 1:
            found = [(yield from ask_until(ask, parse, repairs=self.repairs))]
        else:
            asks = [dataclasses.replace(ask, sample=n) for n in range(self.samples)]
            found = yield from ask_each_until(asks, parse, repairs=self.repairs)
        return found

    def keep(self, score: float | None) -> str | None:
        """Compare with `at_least`."""
        if score is not None and self.at_least is not None and score < self.at_least:
            return f"rated below {self.at_least:g}"
        return None


def mean_of_samples(values: Sequence[float], details: Sequence[Mapping[str, Any]]) -> Scored:
    """Return the mean of the samples' scores; of several, with each of them and their spread.

    The spread is the standard deviation of the samples (n - 1 in the denominator).
    """
    if len(values) == 1:
        return Scored(values[0], details[0])
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    return Scored(mean, {"scores": list(values), "spread": spread, "samples": list(details)})


def asked_and_answered(row: Row) -> tuple[str, str]:
    """Return what was asked, as a judge is shown it, and the last answer.

    A lone user turn is its text; of longer conversations every turn before the answer is shown
    behind its role.

    Raises:
        ValueError: the row has no answer, or holds images or sounds.
    """
    turns = row.fields[RESPONSE_FIELD[row.kind]]
    turns = tuple(turns) if row.kind == "sft" else (*row.prompt, *turns)
    last = max((n for n, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None:
        raise ValueError("the row has no answer to judge: no turn is the assistant's")
    before, answer = turns[:last], shown_turn(turns[last])
    if not answer.strip():
        raise ValueError("the row's answer is empty, so that there is nothing to judge")
    if [turn.role for turn in before] == ["user"]:
        return shown_turn(before[0]), answer
    return conversation(before), answer


def conversation(turns: Sequence[Message]) -> str:
    """Return turns as a judge reads them, each behind its role."""
    return "\n\n".join(f"{turn.role}: {shown_turn(turn)}" for turn in turns)


def shown_turn(turn: Message) -> str:
    """Return a turn's text and its tool calls, as `name(arguments)` on a line for each.

    Raises:
        ValueError: the turn holds media, which a judge of texts would not see.
    """
    if turn.parts is None:
        return turn.content
    if turn.media:
        raise ValueError(
            f"this model cannot read {turn.media[0]:.60}: a judge is shown texts and tool calls; "
            "leave rows with media out"
        )
    calls = [f"{name}({arguments})" for name, arguments in turn.calls]
    return "\n".join([turn.content] * bool(turn.content.strip() or not calls) + calls)
