"""Answer prompts with one or several models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.prompts.replies.thought_tags import answer_turn
from curate.row import MEDIA, Candidate, Message, Record, Row
from curate.step import Asking, Failed, Generate

Turns = tuple[Message, ...]
ANSWERED = "answered"


@dataclass(frozen=True, kw_only=True)
class Respond(Generate):
    """Answer a row's prompt, once or several times, with one or several models.

    `models` lists names in the recipe's `models`. `model` names a single one, as in other steps.
    `samples` is the number of answers per model. `to: sft` makes one conversation per answer; `to:
    ranked` makes one row with all answers as candidates, still without scores. By default one
    answer makes `sft` and several make `ranked`. The prompt of a conversation is everything before
    its last answer, which is replaced. `system` is sent if a row has no system turn of its own; it
    does not become part of the row. Tool calls and media are sent as parts of their turns; a row
    that the model cannot read fails. `temperature`, `top_p` and `max_tokens` override those of the
    model. An answer that is empty or was cut off at `max_tokens` fails on its own if several become
    `sft` rows, and otherwise with its row. Reasoning that a server returns in its own field is kept
    apart, as the turn's `reasoning_content`. Each of several `sft` rows records in a column
    `answered` which model wrote it, for which row, and how many answers there are; `pairs`, `delta`
    and `best_of` read it. A single one does so, too, if the row that it answers is kept
    (`keep_parent`), or has a column `model` that would name another writer.
    """

    models: tuple[str, ...] = ()
    model: str | None = None
    samples: int = 1
    to: Literal["sft", "ranked"] | None = None
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None

    source: ClassVar[str] = "common; e.g. Cui et al. 2023 (UltraFeedback), arXiv 2310.01377"

    def check(self) -> None:
        """Reject a step that asks nobody, asks twice alike, or asks for nothing."""
        models = self.reads_models()
        if not models:
            raise ValueError(
                "models must name one or several of the recipe's models (or give --model MODEL)"
            )
        if len(set(models)) < len(models):
            raise ValueError("models names one twice; samples says how often each one answers")
        for name in ("samples", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature:g}; it must be 0 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p:g}; it must be above 0 and at most 1")
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("at temperature 0 all samples are one answer; raise it, or ask once")

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of all models that answer."""
        return self.models if self.model is None else (self.model, *self.models)

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations, or all become ranked answers."""
        made = frozenset({self._kind()})
        return made | kinds if self.keep_parent else made

    def make(self, row: Row) -> Asking:
        """Ask every model for its answers and make rows of them."""
        prompt = prompt_of(row)
        own = any(turn.role == "system" for turn in prompt)
        asks = [
            Ask(
                model=model,
                sample=sample,
                messages=prompt,
                system=None if own else self.system,
                temperature=self.temperature,
                top_p=self.top_p,
                max_tokens=self.max_tokens,
            )
            for model in self.reads_models()
            for sample in range(self.samples)
        ]
        replies: list[Reply] = yield asks
        alone = self._kind() == "sft" and len(replies) > 1
        columns = json.loads(row.extra) if row.extra else {}
        answers: list[Message | Failed] = []
        for reply in replies:
            try:
                answers.append(answer_turn(reply))
            except UnusableReply as error:
                if not alone:
                    raise
                answers.append(Failed(error, None, reply))
        written = [answer for answer in answers if isinstance(answer, Message)]
        if alone or (self._kind() == "sft" and (self.keep_parent or "model" in columns)):
            # An older one of our own gives way to this one.
            if columns.get(ANSWERED) is not None and answered_of(row) is None:
                raise ValueError(f"the row has a column '{ANSWERED}' already; rename it")
            return [
                answer
                if isinstance(answer, Failed)
                else Record(
                    "sft",
                    {"messages": (*prompt, answer)},
                    json.dumps(
                        {**columns, ANSWERED: Answered(ask.model, row.id, len(written))._asdict()},
                        ensure_ascii=False,
                    ),
                )
                for answer, ask in zip(answers, asks, strict=True)
            ]
        if self._kind() == "sft":
            return [Record("sft", {"messages": (*prompt, *written)}, row.extra)]
        candidates = tuple(
            Candidate((answer,), None, ask.model) for answer, ask in zip(written, asks, strict=True)
        )
        return Record("ranked", {"prompt": prompt, "candidates": candidates}, row.extra)

    def _kind(self) -> str:
        return self.to or ("ranked" if len(self.reads_models()) * self.samples > 1 else "sft")


class Answered(NamedTuple):
    """Where one of several answers comes from: `by` a model, to the row `of`, one of `made`."""

    by: str | None
    of: str
    made: int


def answered_of(row: Row) -> Answered | None:
    """Return what the row's column `answered` says, or `None` where it has no such column."""
    if not row.extra or f'"{ANSWERED}"' not in row.extra:
        return None
    found = json.loads(row.extra).get(ANSWERED)
    if not isinstance(found, dict) or found.keys() != set(Answered._fields):
        return None
    return Answered(**found)


def prompt_of(row: Row) -> Turns:
    """Return the turns to answer: the prompt, or a conversation before its last answer.

    Tool calls and media of its turns travel along; a model that cannot read them refuses.

    Raises:
        ValueError: there is nothing to answer, or media stand in a column, outside of all turns.
    """
    turns = row.messages if row.kind == "sft" else row.prompt
    if row.kind == "sft" and turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    if not turns or turns[-1].role == "assistant":
        raise ValueError("the row has no prompt to answer: its last turn must not be an answer")
    if row.extra and any(f'"{name}"' in row.extra for name in MEDIA):
        extra = json.loads(row.extra)
        column = next((name for name in MEDIA if extra.get(name)), None)
        if column is not None:
            raise ValueError(
                f"this model cannot read media that stand in the column '{column}'; write them "
                "into the turns, as parts of their content"
            )
    return tuple(turns)
