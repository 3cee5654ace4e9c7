"""Let a model criticise its answer by a principle and revise it: Constitutional AI's first half."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.ask import Ask, Reply
from curate.errors import CurateError, UnusableReply, UsageError
from curate.kernels.text.phrase_lists import listed_search
from curate.prompts import prompt as prompts
from curate.prompts.prompt import PromptItem
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Failed, Generate, Made, Product, rule
from curate.steps.generate.few_shot import plain_text
from curate.steps.generate.respond import prompt_of

# What an item of a constitution says: how to criticise, how to revise, and how to compare by it.
FIELDS = ("critique", "revise", "prefer")
REFUSES_AGAIN = "the revision refuses again"
FIRST_AGAIN = "the last revision is the first answer again"
COLUMNS = ("round", "principle")
# Characters from which on a critique that stands in the revision is one repeated: "No." is none.
LEAST_REPEATED = 20
# The turns of an example, and what its item calls them.
EXAMPLE = (
    ("user", "prompt"),
    ("assistant", "answer"),
    ("user", "critique_request"),
    ("assistant", "critique"),
    ("user", "revision_request"),
    ("assistant", "revision"),
)


@dataclass(frozen=True, kw_only=True)
class CritiqueRevise(Generate):
    """Have answers criticised and revised by principles, round by round.

    In each of the `rounds`, `model` criticises the answer by one principle and then rewrites it;
    the next round continues from there. `constitution` is the name or path of a prompt file; one of
    its items is drawn uniformly from the row's seed and the round. `principles` lists the ids of
    the items to draw from. A row without an answer is answered first. `critique` and `revise` are
    the names or paths of the prompts of the two requests. `shots` is the number of worked examples
    put before them as turns, so that a model does not confuse the roles. `examples` is the prompt
    file with these examples. `temperature` and `max_tokens` override those of the model.

    `to` selects what is made: every round's revision as a conversation with the columns `round` and
    `principle` (`sft`), the last revision and the first answer as a pair (`preference`), or both.
    `upto` omits later rounds, without new requests. `last` omits all conversations but the last,
    without new requests. Critiques are never part of the rows, only of the ledger. A revision that
    changes nothing is dropped, as is a pair whose last revision equals the first answer, and a
    revision that refuses after an answer that already refused, which ends the rounds. A revision
    fails if it is empty, cut off, a loop, or a repetition of its critique (of 20 characters or
    more); those of earlier rounds are kept.
    """

    model: str | None = None
    constitution: str = "constitution_harmlessness"
    principles: tuple[str, ...] = ()
    rounds: int = 4
    critique: str = "critique"
    revise: str = "revise"
    shots: int = 0
    examples: str = "constitution_examples"
    to: Literal["sft", "preference", "both"] = "both"
    upto: int | None = rule(None)
    last: bool = rule(False)
    temperature: float | None = None
    max_tokens: int | None = None

    source: ClassVar[str] = "Bai et al. 2022 (Constitutional AI), arXiv 2212.08073, section 3.1"
    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")

    def check(self) -> None:
        """Reject a step that asks nobody, or for no round."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        for name in ("rounds", "upto", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        if self.shots < 0:
            raise ValueError(f"shots is {self.shots}; it must be 0 or more")

    def prepare(self) -> None:
        """Read the prompts, and reject a constitution that says not all that is needed."""
        try:
            prompts.load_with(self.critique, ("preamble", "principle"))
            prompts.load_with(self.revise, ("preamble", "principle"))
            principles_in(self.constitution, self.principles)
            shown = prompts.load(self.examples).items[: self.shots] if self.shots else ()
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.shots > len(shown):
            raise ValueError(f"shots is {self.shots}, and '{self.examples}' has {len(shown)} items")
        for item in shown:
            lacking = [name for _, name in EXAMPLE if name not in item.values]
            if lacking:
                raise ValueError(f"'{self.examples}': the item '{item.id}' lacks {lacking}")

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        files = (self.constitution, self.critique, self.revise, *[self.examples] * bool(self.shots))
        return {**super().fingerprint(), "prompt_text": prompts.digest(*files)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Conversations, pairs, or both."""
        made = {"sft", "preference"} if self.to == "both" else {self.to}
        return frozenset(made) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for a critique and a revision in each round, and make rows of what comes."""
        columns = json.loads(row.extra) if row.extra else {}
        taken = [name for name in COLUMNS if name in columns]
        if taken:
            raise ValueError(f"the row has a column '{taken[0]}' already; rename it")
        prompt = prompt_of(row)
        if row.kind == "sft" and row.messages[-1].role == "assistant":
            if row.messages[-1].attached:
                raise ValueError("the answer has tool calls or media, and only texts are revised")
            first = row.messages[-1].content
        else:
            first = written((yield self._ask(prompt)), "the answer")
        revisions: list[Made] = []
        ended: list[Product] = []
        answer = first
        for number in range(1, self.rounds + 1):
            one = yield from self._round(row, prompt, answer, number)
            if isinstance(one, Made):
                revisions.append(one)
                answer = one.record.fields["messages"][-1].content
                continue
            ended.append(one)
            if isinstance(one, Failed) or one.reason == REFUSES_AGAIN:
                break
        upto = self.rounds if self.upto is None else self.upto
        kept = [one for one in revisions if one.detail and one.detail["round"] <= upto]
        if not kept:
            return ended or [Drop("no revision up to that round")]
        made: list[Product] = []
        if self.to != "preference":
            made += kept[-1:] if self.last else kept
        if self.to != "sft":
            final = kept[-1].record
            fields = {
                "prompt": prompt,
                "chosen": final.fields["messages"][-1:],
                "rejected": (Message("assistant", first),),
                "margin": None,
                "p_chosen": None,
            }
            pair = Record("preference", fields, final.extra)
            detail = {"principles": [one.detail["principle"] for one in kept if one.detail]}
            if plain_text(fields["chosen"][0].content) == plain_text(first):
                made.append(Drop(FIRST_AGAIN, record=pair, detail=detail))
            else:
                made.append(Made(pair, None, detail))
        return [*made, *ended]

    def _round(
        self, row: Row, prompt: tuple[Message, ...], answer: str, number: int
    ) -> Generator[Ask, Reply, Made | Drop | Failed]:
        """Ask for a critique of `answer` and for its revision; return what becomes of that."""
        items = principles_in(self.constitution, self.principles)
        principle = row.random(f"{self.title} round {number}").choice(items)
        examples = prompts.load(self.examples).items[: self.shots] if self.shots else ()
        shown = [Message(role, one.values[name]) for one in examples for role, name in EXAMPLE]
        system = int(prompt[0].role == "system")
        before = (*prompt[:system], *shown, *prompt[system:], Message("assistant", answer))
        asked = (*before, self._request(self.critique, principle))
        reply = yield self._ask(asked)
        try:
            critique = written(reply, f"the critique of round {number}")
            asked = (*asked, Message("assistant", critique), self._request(self.revise, principle))
            reply = yield self._ask(asked)
            revised = written(reply, f"the revision of round {number}")
            told = plain_text(critique)
            if len(told) >= LEAST_REPEATED and told in plain_text(revised):
                said = f"the revision of round {number} repeats its critique"
                raise UnusableReply(said, key=reply.key)
        except UnusableReply as error:
            return Failed(error, None, reply)
        columns: dict[str, Any] = json.loads(row.extra) if row.extra else {}
        extra = {**columns, "round": number, "principle": principle.id}
        turns = (*prompt, Message("assistant", revised))
        record = Record("sft", {"messages": turns}, json.dumps(extra, ensure_ascii=False))
        detail = {"round": number, "principle": principle.id, "critique": critique}
        if all(listed_search("refusal").count(text) for text in (answer, revised)):
            return Drop(REFUSES_AGAIN, record=record, detail=detail)
        if plain_text(revised) == plain_text(answer):
            return Drop("the revision changes nothing", record=record, detail=detail)
        return Made(record, detail=detail)

    def _ask(self, messages: Sequence[Message]) -> Ask:
        return Ask(
            model=self.model,
            messages=tuple(messages),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _request(self, name: str, principle: PromptItem) -> Message:
        """Return the turn that asks for a critique or a revision by a principle."""
        form = prompts.load(name)
        values = {"preamble": prompts.load(self.constitution).render().text, "principle": principle}
        return Message("user", form.render_from(values).text)


def principles_in(
    constitution: str, ids: Sequence[str], needed: Sequence[str] = FIELDS
) -> tuple[PromptItem, ...]:
    """Return the principles of a constitution with these ids, by default all.

    Raises:
        UsageError: there is no such principle, or one lacks a text that is needed.
    """
    form = prompts.load(constitution)
    items = tuple(form.item(id_) for id_ in ids) if ids else form.items
    lacking = [name for item in items[:1] for name in needed if name not in item.values]
    if not items or lacking or form.variables:
        raise UsageError(
            f"'{form.name}' ({form.path}) is not a constitution: it needs items with the texts "
            f"{', '.join(needed)}, and takes no variables"
        )
    return items
