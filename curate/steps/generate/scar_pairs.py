"""Make the triples that a style ranker learns from (SCAR): human, referenced and direct answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_each_until
from curate.prompts.replies.stated_scores import most_stated
from curate.prompts.replies.usable_text import written
from curate.row import Candidate, Message, Record, Row
from curate.step import Asking, Generate, Made

ASPECTS = ("helpfulness", "correctness")
# The scale of the authors' code.
LOW, HIGH = 0, 9


@dataclass(frozen=True, kw_only=True)
class ScarPairs(Generate):
    """Make a triple of each conversation: human, referenced and direct answer, with quality.

    `model` answers twice: *direct*, from the instruction alone, and *referenced*, in its own words
    but with the meaning of the human answer. So direct and referenced share a form, referenced and
    human a content. `referenced` is the name or path of the prompt for the second. `judge` (`model`
    by default) scores the helpfulness and the correctness of all three from 0 to 9. `quality` is
    the name or path of the prompt for that, whose items are the two aspects; the score that a reply
    states most often counts, and the mean of both is the quality. `repairs` is how often a reply
    without a score is asked for again; then the row fails, where the authors' code uses 0. `scored:
    false` omits the six scoring requests, and quality is unknown. The result is a `ranked` row
    whose candidates have `origin`, `helpfulness` and `correctness` as extra columns, for `curate
    train scar`. Only the last answer is used, with all turns before it as the prompt. `complete`
    sends both prompts as raw text to be completed up to the end of the line, for small models.
    `max_tokens` limits answers. `score_tokens` limits scores. `temperature` is used for both.
    """

    model: str | None = None
    judge: str | None = None
    referenced: str = "scar_referenced"
    quality: str = "scar_quality"
    scored: bool = True
    complete: bool = False
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 1024
    score_tokens: int | None = 512

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "referenced": "scar_referenced_brief",
        "quality": "scar_quality_brief",
        "complete": True,
        "max_tokens": 128,
        "score_tokens": 8,
    }
    source: ClassVar[str] = "Li et al. 2024 (SCAR), arXiv 2406.10882, section 3, and their code"
    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def check(self) -> None:
        """Reject a step that asks nobody, and limits that nothing can meet."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        if self.repairs < 0:
            raise ValueError(f"repairs is {self.repairs}; it must be 0 or more")
        for name in ("max_tokens", "score_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")

    def prepare(self) -> None:
        """Read both prompts, and reject those that this step cannot fill in."""
        given = ("instruction", "response", "mark")
        try:
            both = (
                prompts.load_with(self.referenced, given),
                prompts.load_with(self.quality, (*given, "aspect")),
            )
        except CurateError as error:
            raise ValueError(str(error)) from None
        if tuple(item.id for item in both[1].items) != ASPECTS:
            raise ValueError(f"the items of the prompt '{both[1].name}' must be {list(ASPECTS)}")
        if self.complete and (system := [one.name for one in both if one.system is not None]):
            raise ValueError(f"complete sends no system prompt, but '{system[0]}' has one")

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that answer and score."""
        return tuple(dict.fromkeys(name for name in (self.model, self.judge) if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        text = prompts.digest(self.referenced, self.quality)
        return {**super().fingerprint(), "prompt_text": text}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become ranked answers."""
        return frozenset({"ranked"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for both answers, then for the quality of all three."""
        *before, last = row.messages
        if not before or last.role != "assistant" or not last.content.strip():
            raise ValueError("the row has no human answer: its last turn must be the assistant's")
        if any(turn.attached for turn in row.messages):
            raise ValueError("the row has tool calls or media, and only texts can be rewritten")
        texts = {"instruction": "\n".join(turn.content for turn in before), "human": last.content}
        rewritten = self._filled(self.referenced, texts["instruction"], last.content)
        replies = yield [
            rewritten,
            Ask(
                model=self.model,
                messages=tuple(before),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            ),
        ]
        for name, reply in zip(("referenced", "direct"), replies, strict=True):
            texts[name] = written(reply, f"the {name} answer")
        scores = yield from self._scores(texts)
        candidates = []
        for origin in ("human", "referenced", "direct"):
            own = scores.get(origin, {})
            quality = sum(own.values()) / len(own) if own else None
            extra = json.dumps({"origin": origin, **own}, separators=(",", ":"))
            turns = (Message("assistant", texts[origin]),)
            model = None if origin == "human" else self.model
            candidates.append(Candidate(turns, quality, model, extra))
        fields = {"prompt": tuple(before), "candidates": tuple(candidates)}
        detail = {"quality": scores} if scores else None
        return [Made(Record("ranked", fields, row.extra), detail=detail)]

    def _scores(self, texts: Mapping[str, str]) -> Asking:
        """Return helpfulness and correctness of each answer, by origin."""
        if not self.scored:
            return {}
        places = [(o, aspect) for o in ("human", "referenced", "direct") for aspect in ASPECTS]
        asks = [
            self._filled(self.quality, texts["instruction"], texts[origin], aspect)
            for origin, aspect in places
        ]
        found = yield from ask_each_until(
            asks, lambda text: most_stated(text, LOW, HIGH, ASPECTS), repairs=self.repairs
        )
        scores: dict[str, dict[str, float]] = {}
        for (origin, aspect), (value, _) in zip(places, found, strict=True):
            scores.setdefault(origin, {})[aspect] = value
        return scores

    def _filled(self, name: str, instruction: str, response: str, aspect: str | None = None) -> Ask:
        """Return the request of a prompt: for the referenced answer, or for a score of `aspect`."""
        prompt = prompts.load(name)
        values: dict[str, Any] = {
            "instruction": instruction,
            "response": response,
            "aspect": next((item for item in prompt.items if item.id == aspect), None),
            "mark": prompts.mark_of(instruction, response),
        }
        filled = prompt.render_from(values)
        return Ask(
            model=self.model if aspect is None else self.judge or self.model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            stop=("\n",) if self.complete else (),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens if aspect is None else self.score_tokens,
            # Equal judgements may share a reply; answers may not.
            share=None if aspect is None else True,
        )
