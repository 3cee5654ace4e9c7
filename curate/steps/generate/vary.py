"""Say the same task differently: other system prompts, openings and wordings, as planned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Row
from curate.step import Asking, Failed, Generate, Made, Product
from curate.steps.generate.compose import check_columns, plan_of

# Where a wording holds the instruction; nothing in a wording is a template.
PLACE = "{instruction}"


@dataclass(frozen=True, kw_only=True)
class Vary(Generate):
    """Rephrase a row's first user turn, according to the plan of an `attributes` step.

    `plan` is the label of the `attributes` step. `system` names the attribute whose value becomes
    the system prompt. `replace` permits this for rows that have one, which otherwise fail.
    `preamble` names the attribute whose value is put before the instruction. `wording` names the
    attribute whose value is a text with {instruction} in it, or with a model, a style ("as a
    question to a friend"). `model` rewords the instruction in that style. `prompt` (`reword`) is
    the name or path of the prompt for that. Answers are unchanged. Each planned set of values makes
    a row, with the ids of the values as columns, so counts are as planned. A reply that is empty or
    was cut off at `max_tokens` fails only its own row. `temperature` and `max_tokens` override
    those of the model.
    """

    system: str | None = None
    preamble: str | None = None
    wording: str | None = None
    plan: str = "attributes"
    replace: bool = False
    model: str | None = None
    prompt: str = "reword"
    temperature: float | None = None
    max_tokens: int | None = 1024

    source: ClassVar[str] = "common; FLAN's input variety: Longpre et al. 2023, arXiv 2301.13688"

    def check(self) -> None:
        """Reject a step that changes nothing, and a model that rewords nothing."""
        if not any((self.system, self.preamble, self.wording)):
            raise ValueError("system, preamble or wording must name an attribute of the plan")
        if self.model and not self.wording:
            raise ValueError("model rewords by wording, which must name an attribute of the plan")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            prompts.load_with(self.prompt, ("instruction", "manner", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """A row keeps its kind."""
        return kinds

    def make(self, row: Row) -> Asking:
        """Put the row as each of its planned cells says."""
        planned = plan_of(row, self.plan)
        if planned is None:
            raise ValueError(f"the row has no plan of a step '{self.plan}'; attributes makes one")
        name = "messages" if row.kind == "sft" else "prompt"
        turns: tuple[Message, ...] = row.fields[name]
        place = next((n for n, turn in enumerate(turns) if turn.role == "user"), None)
        if place is None or not row.instruction.strip():
            raise ValueError("the row has no instruction to put differently")
        if self.system and turns[0].role == "system" and not self.replace:
            raise ValueError("the row has a system prompt; replace: true puts another in its place")
        every = planned["cells"]
        texts = [
            {**cell, **long}
            for cell, long in zip(every, planned.get("texts") or [{}] * len(every), strict=True)
        ]
        wanted = [one for one in (self.system, self.preamble, self.wording) if one]
        if absent := [one for one in wanted if one not in every[0]]:
            raise ValueError(f"the plan has no '{absent[0]}'; it has {', '.join(every[0])}")
        columns = json.loads(row.extra) if row.extra else {}
        check_columns(columns, ({one: cell[one] for one in wanted} for cell in every))
        replies: list[Reply | None] = [None] * len(every)
        if self.model is not None:
            mark = prompts.mark_of(row.whole)
            given = {"instruction": row.instruction, "mark": mark}
            asked = prompts.load(self.prompt)
            filled = [asked.render(**given, manner=str(one[str(self.wording)])) for one in texts]
            replies = yield [
                Ask(
                    model=self.model,
                    sample=sample,
                    messages=(Message("user", one.text),),
                    system=one.system,
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                )
                for sample, one in enumerate(filled)
            ]
        products: list[Product] = []
        for cell, long, reply in zip(every, texts, replies, strict=True):
            try:
                said = self._put(turns[place].content, long, reply)
            except (CurateError, ValueError) as error:
                products.append(Failed(error, None, reply))
                continue
            new = [*turns[:place], turns[place]._replace(content=said), *turns[place + 1 :]]
            if self.system:
                new = [turn for turn in new if turn.role != "system"]
                new.insert(0, Message("system", str(long[self.system])))
            extra = columns | {one: cell[one] for one in wanted}
            record = row.rewrite(**{name: tuple(new)})
            record = record._replace(extra=json.dumps(extra, ensure_ascii=False))
            products.append(Made(record, detail={one: cell[one] for one in wanted}))
        return products

    def _put(self, instruction: str, cell: dict[str, Any], reply: Reply | None) -> str:
        """Return the instruction as a cell says, reworded by `reply` where there is one."""
        said = instruction if reply is None else written(reply, "the reworded instruction")
        if not said:
            raise ValueError("the reworded instruction is empty")
        if self.wording and reply is None:
            wording = str(cell[self.wording])
            if PLACE not in wording:
                raise ValueError(f"the wording {wording!r:.60} holds no {PLACE}; a model would "
                                 "reword by such a text: name one")  # fmt: skip
            said = wording.replace(PLACE, said)
        return f"{cell[self.preamble]}\n\n{said}" if self.preamble else said
