"""Write the instruction to which a text is the answer (instruction backtranslation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Generate


@dataclass(frozen=True, kw_only=True)
class Backtranslate(Generate):
    """Make a conversation from a text: a model writes the instruction that the text answers.

    The text is the row's response, or its instruction if the row is a bare prompt (a document read
    as a prompt). It becomes the answer, unchanged. `model` is the name of a model in the recipe.
    `prompt` is the name or path of the prompt file. `temperature` and `max_tokens` override those
    of the model. For the paper's second half, self-curation, put a judge after this step: `rubric`
    with a threshold. A row is dropped if its instruction repeats more than `most_copied`
    consecutive words of the text's opening, since that gives the answer away. `complete` sends the
    prompt as raw text to be completed up to the end of the line, for small models that do not
    follow instructions.
    """

    model: str | None = None
    prompt: str = "backtranslate"
    complete: bool = False
    most_copied: int = 20
    temperature: float | None = None
    max_tokens: int | None = 512

    source: ClassVar[str] = "Li et al. 2023 (Humpback), arXiv 2308.06259, section 2.2"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft", "unpaired")

    def check(self) -> None:
        """Reject a step that asks nobody or for nothing."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        for name in ("most_copied", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            found = prompts.load_with(self.prompt, ("text", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and found.system is not None:
            raise ValueError(f"complete sends no system prompt, but {self.prompt} has one")

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for the instruction."""
        text = row.response or row.instruction
        if not text.strip():
            raise ValueError("the row has no text to write an instruction for")
        prompt = prompts.load(self.prompt)
        values = {"text": text, "mark": prompts.mark_of(text)}
        filled = prompt.render_from(values)
        reply = yield Ask(
            model=self.model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            stop=("\n",) if self.complete else (),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        instruction = written(reply, "the instruction")
        opening = text.lower().split()[: self.most_copied + 1]
        if len(opening) > self.most_copied and " ".join(opening) in " ".join(
            instruction.lower().split()
        ):
            return Drop("the instruction repeats the text")
        turns = (Message("user", instruction), Message("assistant", text))
        return Record("sft", {"messages": turns}, row.extra)
