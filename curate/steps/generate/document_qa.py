"""Write questions and answers from documents, each with the passage that it comes from."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply
from curate.errors import CurateError, UnusableReply
from curate.kernels.text.passages import TextRange, passages
from curate.prompts import prompt as prompts
from curate.prompts.prompt import Prompt
from curate.prompts.replies.objects import ask_again
from curate.prompts.replies.pairs import Pair, pairs_in
from curate.prompts.replies.plain_lines import read
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Failed, Generate, Product

# What a question must not lean on, where its reader sees no passage.
_SOURCE = "(?:text|passage|document|article|paragraph|excerpt|context|section)s?"
_POINTS_BACK = re.compile(
    rf"(?i)\b(?:the|this|that|these) (?:given|above|following|provided) {_SOURCE}\b"
    # "The document that ended the war" and "this section of the code" name one of the world's.
    rf"|\b(?:the|this|that|these) {_SOURCE}\b(?! (?:of|that|which|in|on|by)\b)(?! \d)"
    rf"|\b(?:the|this|that|these) {_SOURCE} of (?:the|this|that) {_SOURCE}\b"
    r"|\b(?:mentioned|described|stated|listed|given) (?:above|here|below)\b"
)
_NO_ANSWER = re.compile(
    rf"(?i)\b{_SOURCE} (?:above |given )?(?:does not|doesn't|do not|don't|did not|didn't) "
    r"(?:say|state|mention|specify|provide|contain|give|tell|explain|answer|indicate|include)\b"
    rf"|\b{_SOURCE} (?:above |given )?(?:has|gives|provides|contains) no "
    r"(?:information|answer|mention)\b"
    r"|^(?:i'm sorry|sorry|i am sorry|i cannot|i can't|as an ai)\b"
)
# Columns that say something of a whole document and nothing of one passage.
_OF_DOCUMENT = ("pages",)


@dataclass(frozen=True, kw_only=True)
class DocumentQa(Generate):
    """Write questions that a document answers, with their answers, passage by passage.

    A document is a row's first user turn, as made from text, Markdown, HTML and PDF files. It is
    split at paragraph boundaries into passages of at most `passage` characters. `model` writes the
    pairs for each passage in one reply. `questions` is the number of pairs per passage. Every row
    keeps its passage (column `passage`), where that begins and ends in the document
    (`passage_start`, `passage_end`, in characters of the document's text), the `page` of a PDF,
    and, if the prompt asks for one, the quote that supports the answer (`quote_start`,
    `quote_end`). With `context`, the passage is put before the question; without it, a question
    that refers to the passage ("in the text above") is dropped. Also dropped are repeated questions
    of a document, answers that say there is none, and pairs whose quote is not in the passage. The
    step `groundedness` checks whether answers follow from their passages.

    `prompt` is the name or path of the prompt file; one with a schema is answered with an object,
    one without in lines that begin with "Question:" and "Answer:". `complete` sends it as raw text
    to be completed up to a blank line, for small models that do not follow instructions.
    `structured` makes the server enforce the schema, if it can. `repairs` is how often the model is
    told what is wrong with an unreadable reply and asked again; then that passage fails, and the
    others are kept. `temperature` and `max_tokens` override those of the model.
    """

    model: str | None = None
    prompt: str = "document_qa"
    questions: int = 3
    passage: int = 1500
    context: bool = False
    complete: bool = False
    structured: bool = False
    repairs: int = 1
    temperature: float | None = None
    max_tokens: int | None = 1024

    source: ClassVar[str] = "common; e.g. Alberti et al. 2019, arXiv 1906.05416"
    kinds: ClassVar[tuple[str, ...]] = ("prompt",)

    def check(self) -> None:
        """Reject a step that asks nobody, or for nothing."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        for name, least in (("questions", 1), ("passage", 100), ("repairs", 0), ("max_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be {least} or more")
        if self.complete and self.structured:
            raise ValueError("complete goes up to a blank line; structured needs a chat")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            found = prompts.load_with(self.prompt, ("passage", "questions", "title", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.structured and found.schema is None:
            raise ValueError(f"structured needs a schema, and the prompt '{found.name}' has none")
        held = ((found.schema or {}).get("properties", {}).get("pairs") or {}).get("items", {})
        if found.schema is not None and not {"question", "answer"} <= set(held.get("required", ())):
            raise ValueError(
                f"the schema of the prompt '{found.name}' must ask for a list `pairs` whose items "
                "require `question` and `answer`, as prompts/document_qa.md does"
            )
        if self.complete and (found.system is not None or found.schema is not None):
            raise ValueError(
                f"complete sends text and reads lines, but the prompt '{found.name}' has a system "
                "prompt or a schema; give another, as document_qa_brief"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Questions with answers are conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask about all passages at once, and again about those whose replies cannot be read."""
        if row.attached("instruction"):
            raise ValueError("the document has tool calls or media, and only its text is asked of")
        text = row.instruction
        spans = [s for s in passages(text, self.passage) if any(map(str.isalpha, s.of(text)))]
        if not spans:
            raise ValueError("the document has no text to ask about")
        extra: dict[str, Any] = json.loads(row.extra or "{}")
        prompt = prompts.load(self.prompt)
        asks = {span: self._ask(prompt, span.of(text), extra) for span in spans}
        found: dict[TextRange, list[Pair] | Failed] = {}
        for left in range(self.repairs, -1, -1):
            replies: list[Reply] = yield list(asks.values())
            again = {}
            for (span, ask), reply in zip(asks.items(), replies, strict=True):
                try:
                    # What was to be completed begins with the prompt's last line.
                    head = (ask.prompt or "").rpartition("\n")[2]
                    parse = functools.partial(pairs_in, schema=prompt.schema, head=head)
                    found[span] = read(reply, parse)
                except UnusableReply as error:
                    place = {"passage_start": span.start, "passage_end": span.end}
                    shown = {"messages": (Message("user", span.of(text)),)}
                    failed = Record("sft", shown, json.dumps({**extra, **place}))
                    found[span] = Failed(error, failed, reply)
                    repaired = ask_again(ask, reply, error)
                    if left and repaired is not None:
                        again[span] = repaired
            asks = again
            if not asks:
                break
        return list(self._products(text, found, extra))

    def _ask(self, prompt: Prompt, passage: str, extra: dict[str, Any]) -> Ask:
        values = {
            "passage": passage,
            "questions": self.questions,
            "title": extra.get("title") or extra.get("file") or "untitled",
            "mark": prompts.mark_of(passage),
        }
        filled = prompt.render_from(values)
        return Ask(
            model=self.model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            stop=("\n\n",) if self.complete else (),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            schema=prompt.schema if self.structured else None,
        )

    def _products(
        self, text: str, found: dict[TextRange, list[Pair] | Failed], extra: dict[str, Any]
    ) -> Iterable[Product]:
        """Yield a row, a drop or a failure for each pair, in the order of passages."""
        asked: set[str] = set()
        pages = extra.get("pages")
        kept = {name: value for name, value in extra.items() if name not in _OF_DOCUMENT}
        for span in sorted(found):
            pairs = found[span]
            if isinstance(pairs, Failed):
                yield pairs
                continue
            passage = span.of(text)
            own = {**kept, "passage": passage, "passage_start": span.start}
            own["passage_end"] = span.end
            if isinstance(pages, list):
                own["page"] = sum(begin <= span.start for begin in pages)
            for pair in pairs:
                quoted = None if pair.quote is None else find_quote(pair.quote, passage)
                places = (
                    {}
                    if quoted is None
                    else {
                        "quote_start": span.start + quoted.start,
                        "quote_end": span.start + quoted.end,
                    }
                )
                asks = f"{passage}\n\n{pair.question}" if self.context else pair.question
                turns = (Message("user", asks), Message("assistant", pair.answer))
                columns = json.dumps({**own, **places}, ensure_ascii=False)
                record = Record("sft", {"messages": turns}, columns)
                reason = self._broken(pair, asked)
                if reason is None and pair.quote is not None and quoted is None:
                    reason = "its quote is not in the passage"
                if reason is None:
                    asked.add(" ".join(pair.question.lower().split()))
                yield record if reason is None else Drop(reason, record=record)

    def _broken(self, pair: Pair, asked: set[str]) -> str | None:
        """Return the rule that a pair breaks, or `None`."""
        if " ".join(pair.question.lower().split()) in asked:
            return "the document's questions had it before"
        if not self.context and _POINTS_BACK.search(pair.question):
            return "the question leans on the passage"
        if _NO_ANSWER.search(pair.answer):
            return "the answer says that there is none"
        return None


def find_quote(quote: str, passage: str) -> TextRange | None:
    """Return where `quote` stands in `passage`, whatever white space and quotation marks it has."""
    words = [re.escape(word) for word in quote.strip().strip("\"'“”‘’.… ").split()]
    if not words:
        return None
    pattern = r"\s+".join(words)
    for marks in ("'‘’", '"“”„'):
        pattern = re.sub(f"[{marks}]", f"[{marks}]", pattern)
    match = re.search(pattern, passage, re.IGNORECASE)
    return TextRange(match.start(), match.end()) if match else None
