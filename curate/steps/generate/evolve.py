"""Rewrite instructions (WizardLM) or answers (DEITA) step by step into harder or better ones."""

from __future__ import annotations

import dataclasses
import re
import string
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies import read_label
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Generate, Made

# Elimination rules of WizardLM, section 3.2, by the names that ledgers show.
EQUAL = "no information gain"
SORRY = "the model cannot answer it"
EMPTY_ANSWER = "its answer holds no words"
COPIED = "copies the evolving prompt"
# "sorry" in a short answer, as the paper has it: fewer than 80 words.
SORRY_WORDS = 80
_COPIES = re.compile(
    r"\b(?:given|rewritten|original|new|evolved) (?:prompt|instruction)\b|#+ ?\w+ prompt", re.I
)


@dataclass(frozen=True, kw_only=True)
class Evolve(Generate):
    """Evolve a row's instruction, or its answer, through one or several rounds.

    Each of the `rounds` applies one operation, drawn from the row's seed. `operations` are ids of
    the prompt file's items to draw from (all by default). `on` selects what evolves: instructions
    become harder or change within their domain (WizardLM); answers (`on: response`) become better
    (DEITA). `model` also answers an evolved instruction in the same round. The round is eliminated
    if the instruction gains nothing over the previous one, if the answer is a short apology or has
    no words, or if it copies the evolving prompt; the next round then starts from the previous
    result. `judge` decides about the gain (`model` by default). `to: sft` keeps the last answer
    that was not eliminated, `to: prompt` only the instruction. With `every: true`, each round that
    was not eliminated becomes a row. If all rounds were eliminated, the row is dropped with the
    last rule that it broke. The ledger lists operations, eliminations and texts by round. `prompt`
    is the name or path of the prompt file. `complete` sends the prompt as raw text to be completed
    up to the end of the line, for small models that do not follow instructions. `temperature` and
    `max_tokens` override those of the model.
    """

    model: str | None = None
    judge: str | None = None
    on: Literal["instruction", "response"] = "instruction"
    prompt: str | None = None
    operations: tuple[str, ...] = ()
    rounds: int = 1
    every: bool = False
    complete: bool = False
    to: Literal["sft", "prompt"] = "sft"
    temperature: float | None = None
    max_tokens: int | None = 2048

    source: ClassVar[str] = (
        "Xu et al. 2023 (WizardLM), arXiv 2304.12244, 3.2; Liu et al. 2023 (DEITA), 2312.15685, 3.2"
    )
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, or asks for what it cannot make."""
        check_asking(self.model, max_tokens=self.max_tokens)
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; it must be 1 or more")
        if self.on == "response" and self.to == "prompt":
            raise ValueError("to: prompt leaves out the answer, which on: response evolves")

    def prepare(self) -> None:
        """Read the prompt, and reject operations that it does not have."""
        given = ("instruction", "operation", "mark", *(("response",) * (self.on == "response")))
        try:
            found = prompts.load_with(self._prompt(), given)
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and found.system is not None:
            raise ValueError(f"complete sends no system prompt, but {found.name} has one")
        known = [item.id for item in found.items]
        if not known:
            raise ValueError(f"the prompt '{found.name}' has no items; each is an operation")
        if unknown := [name for name in self.operations if name not in known]:
            raise ValueError(f"operations names {unknown}; {found.name} has {', '.join(known)}")

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that rewrite, answer and compare."""
        return tuple(dict.fromkeys(name for name in (self.model, self.judge) if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        names = (self._prompt(), "evolved_equal")
        return {**super().fingerprint(), "prompt_text": prompts.digest(*names)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations, or all become prompts."""
        return frozenset({self.to}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Evolve the row for the rounds asked for."""
        if not row.instruction.strip():
            raise ValueError("the row has no instruction to evolve")
        if self.on == "response" and not row.response.strip():
            raise ValueError("the row has no answer to evolve")
        prompt = prompts.load(self._prompt())
        items = [i for i in prompt.items if not self.operations or i.id in self.operations]
        random = row.random(self.title)
        instruction, response = row.instruction, row.response
        lineage: list[dict[str, Any]] = []
        made: list[Made] = []
        for number in range(1, self.rounds + 1):
            item = random.choice(items)
            values = {
                "instruction": instruction,
                "operation": item,
                "mark": prompts.mark_of(row.whole),
                "response": response,
            }
            filled = prompt.render_from(values)
            ask = self._ask(filled.text, filled.system)
            if self.complete:
                ask = dataclasses.replace(ask, messages=(), prompt=filled.text, stop=("\n",))
            reply = yield ask
            text = written(reply, "the evolved text")
            if self.on == "response":
                reason, new = (COPIED if text == response else None), (instruction, text)
            else:
                reason, answer = yield from self._judged(row, instruction, text)
                new = (text, answer)
            lineage.append({"round": number, "operation": item.id, "text": text})
            if reason is not None:
                lineage[-1]["eliminated"] = reason
                continue
            instruction, response = new
            turns = (Message("user", instruction), Message("assistant", response))
            fields = {"prompt": turns[:1]} if self.to == "prompt" else {"messages": turns}
            record = Record(self.to, fields, row.extra)
            stand = sum("eliminated" not in entry for entry in lineage)
            made.append(Made(record, score=float(stand), detail={"lineage": list(lineage)}))
        if not made:
            return Drop(str(lineage[-1]["eliminated"]), detail={"lineage": lineage})
        return made if self.every else [made[-1]._replace(detail={"lineage": lineage})]

    def _judged(self, row: Row, before: str, after: str) -> Asking:
        """Return the rule that an evolved instruction breaks, if any, and its answer."""
        if _COPIES.search(after) and not _COPIES.search(before):
            return COPIED, ""
        equal = prompts.load("evolved_equal").render(
            first=before, second=after, mark=prompts.mark_of(row.whole)
        )
        verdict, answer = yield [
            Ask(
                model=self.judge or self.model,
                messages=(Message("user", equal.text),),
                temperature=0.0,
                max_tokens=16,
                share=True,
            ),
            self._ask(after, None),
        ]
        if read_label(verdict, ("equal", "different")) == "equal":
            return EQUAL, ""
        broken = broken_by_answer(answer)
        return (broken, "") if broken else (None, written(answer, "its answer"))

    def _ask(self, text: str, system: str | None) -> Ask:
        return Ask(
            model=self.model,
            messages=(Message("user", text),),
            system=system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _prompt(self) -> str:
        return self.prompt or ("evolve" if self.on == "instruction" else "evolve_answer")


def broken_by_answer(reply: Reply) -> str | None:
    """Return the elimination rule that the answer to an evolved instruction breaks, or `None`."""
    from curate.kernels.text.topic_terms import english_stop_words

    words = [word.strip(string.punctuation).lower() for word in reply.whole().split()]
    words = [word for word in words if word]
    if "sorry" in words and len(words) < SORRY_WORDS:
        return SORRY
    if english_stop_words().issuperset(words):
        return EMPTY_ANSWER
    return None
