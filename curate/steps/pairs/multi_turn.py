"""Put an earlier exchange before a pair: preferences over the last turn of a conversation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, check_asking
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Generate, Made
from curate.steps.generate.few_shot import plain_text

FORMS = ("related", "paraphrase", "repeat")
COLUMN = "earlier_turn"


@dataclass(frozen=True, kw_only=True)
class MultiTurn(Generate):
    """Make the prompt of a pair the second question of a conversation.

    `model` first writes an earlier question, then answers it, and both are put before the prompt's
    last turn. `related`, `paraphrase` and `repeat` are the weights with which its form is drawn
    from the row's seed: a related question, a paraphrase of the last turn, or that turn itself; the
    defaults are Olmo 3's. Both sides of the pair and its margin are unchanged. The column
    `earlier_turn` records the form. If the written question equals the prompt's own, the row is
    dropped; if it or its answer is empty, cut off or a loop, the row fails. `prompt` is the name or
    path of the prompt for a related question. `temperature` and `max_tokens` override those of the
    model.
    """

    model: str | None = None
    related: float = 2500.0
    paraphrase: float = 1876.0
    repeat: float = 624.0
    prompt: str = "related_question"
    temperature: float | None = None
    max_tokens: int | None = None

    source: ClassVar[str] = "Olmo 3 (2025), multi-turn pairs: 2,500 related, 1,876 and 624"
    kinds: ClassVar[tuple[str, ...]] = ("preference",)

    def check(self) -> None:
        """Reject a step that asks nobody, and weights that are none."""
        check_asking(self.model, max_tokens=self.max_tokens)
        weights = [getattr(self, name) for name in FORMS]
        if not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
            raise ValueError("related, paraphrase and repeat are weights of 0 or more, not all 0")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            prompts.load_with(self.prompt, ("instruction", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt, "reword")}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Pairs stay pairs."""
        return kinds

    def make(self, row: Row) -> Asking:
        """Ask for the earlier question and its answer."""
        columns = json.loads(row.extra) if row.extra else {}
        if COLUMN in columns:
            raise ValueError(f"the row has a column '{COLUMN}' already; rename it")
        if not row.prompt or row.prompt[-1].role != "user" or row.prompt[-1].attached:
            raise ValueError("the prompt's last turn must be a user turn with text only")
        *before, last = row.prompt
        weights = [getattr(self, name) for name in FORMS]
        [form] = row.random(self.title).choices(FORMS, weights)
        question = last.content
        if form != "repeat":
            values: dict[str, Any] = {
                "instruction": question,
                "mark": prompts.mark_of(question),
                "manner": "in other words and another order, at about the same length.",
            }
            asked = prompts.load(self.prompt if form == "related" else "reword")
            text = asked.render_from(values).text
            reply = yield self._ask((Message("user", text),))
            question = written(reply, "the earlier question")
            if plain_text(question) == plain_text(last.content):
                return Drop("the earlier question is the same", detail={"form": form})
        asking = (*before, Message("user", question))
        answer = written((yield self._ask(asking)), "the earlier answer")
        fields = {**row.fields, "prompt": (*asking, Message("assistant", answer), last)}
        extra = json.dumps({**columns, COLUMN: form}, ensure_ascii=False)
        return Made(Record("preference", fields, extra), detail={"form": form})

    def _ask(self, messages: tuple[Message, ...]) -> Ask:
        return Ask(
            model=self.model,
            messages=messages,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
