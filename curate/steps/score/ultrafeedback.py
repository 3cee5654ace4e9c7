"""Rate the candidates of a prompt in four aspects, side by side (UltraFeedback)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_each_until, object_in
from curate.prompts.replies.plain_lines import shown
from curate.row import Message, Row
from curate.step import Asking, Generate, Made
from curate.steps.score._judge import conversation, shown_turn

SHOWN = ("instruction", "answers", "aspect", "mark")


@dataclass(frozen=True, kw_only=True)
class Ultrafeedback(Generate):
    """Rate every candidate of a `ranked` row in four aspects from 1 to 5 (UltraFeedback).

    Each of `aspects` (ids of the prompt's items: instruction following, truthfulness, honesty and
    helpfulness) is one request to `model` that shows all candidates, in an order of its own drawn
    by the row's seed, and asks for a rating and its reason for each; with `together: false` each
    candidate is rated alone. A candidate's score becomes the mean of its ratings; these and their
    reasons stand in its `extra`, under the step's label. Which are chosen and rejected is for later
    steps to say. There is no overall score: that of the published data says 10 for 2,628 answers
    that were worth 1, which the mean of their aspects (2 or less) gives away. A reply is one object
    with whole ratings from 1 to 5, as many as were asked for; else it is told what is wrong with it
    up to `repairs` times, and then the row fails. `prompt` is the name or path of another prompt;
    `temperature` and `max_tokens` go before those of the model.
    """

    model: str | None = None
    aspects: tuple[str, ...] = ()
    together: bool = True
    prompt: str = "ultrafeedback"
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 1024

    source: ClassVar[str] = "Cui et al. 2023 (UltraFeedback), arXiv 2310.01377, section 2.4"
    kinds: ClassVar[tuple[str, ...]] = ("ranked",)
    shares_replies: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, and limits that nothing can meet."""
        check_asking(
            self.model,
            repairs=self.repairs,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    def prepare(self) -> None:
        """Read the prompt, and reject aspects that it does not have."""
        try:
            prompt = prompts.load_with(self.prompt, SHOWN)
        except CurateError as error:
            raise ValueError(str(error)) from None
        known = [item.id for item in prompt.items]
        if not known:
            raise ValueError(f"the prompt '{prompt.name}' has no items; each is an aspect")
        if unknown := [name for name in self.aspects if name not in known]:
            raise ValueError(f"aspects names {unknown}; {prompt.name} has {', '.join(known)}")

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Candidates stay candidates."""
        return frozenset({"ranked"})

    def make(self, row: Row) -> Asking:
        """Ask for the ratings of all aspects at once, and write them to the candidates."""
        answers = ["\n".join(map(shown_turn, one.messages)) for one in row.candidates]
        if not answers or not all(text.strip() for text in answers):
            raise ValueError("the row has no candidate to rate, or one that is empty")
        prompt = prompts.load(self.prompt)
        asked = conversation(row.prompt)
        if [turn.role for turn in row.prompt] == ["user"]:
            asked = shown_turn(row.prompt[0])
        places: list[tuple[str, list[int]]] = []
        asks = []
        for item in prompt.items:
            if self.aspects and item.id not in self.aspects:
                continue
            order = list(range(len(answers)))
            row.random(f"{self.title} {item.id}").shuffle(order)
            for group in [order] if self.together else [[place] for place in sorted(order)]:
                values = {
                    "instruction": asked,
                    "answers": [answers[place] for place in group],
                    "aspect": item,
                    "mark": prompts.mark_of(asked, *answers),
                }
                filled = prompt.render_from(values)
                places.append((item.id, group))
                asks.append(
                    Ask(
                        model=self.model,
                        messages=(Message("user", filled.text),),
                        system=filled.system,
                        temperature=self.temperature,
                        max_tokens=self.max_tokens,
                    )
                )
        count = len(answers) if self.together else 1
        found: Sequence[tuple[Any, Reply]] = yield from ask_each_until(
            asks, lambda text: ratings_in(text, prompt.schema, count), repairs=self.repairs
        )
        rated: list[dict[str, Any]] = [{} for _ in answers]
        for (aspect, group), (said, _) in zip(places, found, strict=True):
            for place, one in zip(group, said["ratings"], strict=True):
                rated[place][aspect] = one
        means = [sum(one["rating"] for one in own.values()) / len(own) for own in rated]
        candidates = tuple(
            one._replace(score=mean).with_extra(self.title, own)
            for one, mean, own in zip(row.candidates, means, rated, strict=True)
        )
        detail = {"means": means, "shown": places if self.together else None}
        return Made(row.rewrite(candidates=candidates), detail=detail)


def ratings_in(text: str, schema: Any, count: int) -> Any:
    """Return the object of a reply, once it has a rating for each of `count` answers.

    Raises:
        ValueError: it is none, or has more ratings or fewer.
    """
    found = object_in(text, schema or {})
    if len(found["ratings"]) != count:
        raise ValueError(
            f"it has {len(found['ratings'])} ratings for {count} answers: {shown(text)}"
        )
    return found
