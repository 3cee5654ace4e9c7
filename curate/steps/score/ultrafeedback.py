"""Rate the candidates of a prompt in four aspects, side by side (UltraFeedback)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from curate.ask import Ask, Choose, Reply, check_asking
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_each_until, object_in
from curate.prompts.replies.plain_lines import shown
from curate.row import Message, Row
from curate.step import Asking, Generate, Made
from curate.steps.pairs._answers import rescored
from curate.steps.score._deita import expected_of
from curate.steps.score._judge import conversation, shown_turn

SHOWN = ("instruction", "answers", "aspect", "mark")
RATINGS = ("1", "2", "3", "4", "5")


@dataclass(frozen=True, kw_only=True)
class Ultrafeedback(Generate):
    """Rate every candidate of a `ranked` row in four aspects from 1 to 5 (UltraFeedback).

    `aspects` are ids of the prompt's items: instruction following, truthfulness, honesty and
    helpfulness. Each is one request to `model` that shows all candidates, in an order drawn from
    the row's seed, and asks for a rating and a reason for each. With `together: false`, each
    candidate is rated separately. A candidate's score becomes the mean of its ratings; these and
    their reasons are stored in its `extra`, under the step's label, and its earlier score as
    `score_before_LABEL`. Later steps select chosen and rejected. There is no overall score: in the
    published data, that says 10 for 2,628 answers that were worth 1, as the mean of their aspects
    (2 or less) reveals. A reply is one object with a whole rating from 1 to 5 per candidate.
    `repairs` is how often the model is told what is wrong with its reply and asked again; then the
    row fails. `prompt` is the name or path of another prompt. `temperature` and `max_tokens`
    override those of the model.

    `complete` is for models too small to write an object: each candidate is rated separately, the
    prompt is sent as raw text followed by the rating, and the rating is the mean of 1 to 5,
    weighted by their probabilities.
    """

    model: str | None = None
    aspects: tuple[str, ...] = ()
    together: bool = True
    prompt: str = "ultrafeedback"
    complete: bool = False
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 1024

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "ultrafeedback_brief",
        "complete": True,
    }
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
        if self.complete and (prompt.system is not None or prompt.schema is not None):
            raise ValueError(
                f"complete sends one raw text that a rating follows, but '{prompt.name}' has a "
                "system prompt or a schema; give another prompt, as ultrafeedback_brief"
            )
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
        questions = self.questions(row, answers)
        found: list[list[dict[str, Any]]]
        if self.complete:
            replies: list[Reply] = yield [
                Choose(model=self.model, prompt=one.filled.text, options=RATINGS)
                for one in questions
            ]
            weighed = [expected_of(reply, RATINGS) for reply in replies]
            found = [[{"rating": one.value, "mass": one.mass}] for one in weighed]
        else:
            schema = prompts.load(self.prompt).schema
            count = len(answers) if self.together else 1
            asks = [
                Ask(
                    model=self.model,
                    messages=(Message("user", one.filled.text),),
                    system=one.filled.system,
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                )
                for one in questions
            ]
            read: Sequence[tuple[Any, Reply]] = yield from ask_each_until(
                asks, lambda text: ratings_in(text, schema, count), repairs=self.repairs
            )
            found = [said["ratings"] for said, _ in read]
        rated: list[dict[str, Any]] = [{} for _ in answers]
        for question, ratings in zip(questions, found, strict=True):
            for place, one in zip(question.places, ratings, strict=True):
                rated[place][question.aspect] = one
        means = [sum(one["rating"] for one in own.values()) / len(own) for own in rated]
        candidates = tuple(
            rescored(one, mean, self.title).with_extra(self.title, own)
            for one, mean, own in zip(row.candidates, means, rated, strict=True)
        )
        alone = self.complete or not self.together
        shown_in = None if alone else [(one.aspect, one.places) for one in questions]
        detail = {"means": means, "shown": shown_in}
        return Made(row.rewrite(candidates=candidates), detail=detail)

    def questions(self, row: Row, answers: Sequence[str]) -> list[_Question]:
        """Return what is asked about the answers: an aspect of all of them, or of each alone."""
        prompt = prompts.load(self.prompt)
        asked = conversation(row.prompt)
        if [turn.role for turn in row.prompt] == ["user"]:
            asked = shown_turn(row.prompt[0])
        questions = []
        for item in prompt.items:
            if self.aspects and item.id not in self.aspects:
                continue
            order = list(range(len(answers)))
            row.random(f"{self.title} {item.id}").shuffle(order)
            together = self.together and not self.complete
            for group in [order] if together else [[place] for place in sorted(order)]:
                values = {
                    "instruction": asked,
                    "answers": [answers[place] for place in group],
                    "aspect": item,
                    "mark": prompts.mark_of(asked, *answers),
                }
                questions.append(_Question(item.id, group, prompt.render_from(values)))
        return questions


class _Question(NamedTuple):
    """A prompt about one aspect of the answers at these places, in the order shown."""

    aspect: str
    places: list[int]
    filled: prompts.Rendered


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
