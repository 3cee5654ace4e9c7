"""Compare two answers by a judge: both orders, soft labels, several principles and judges.

Judges favour places: of two answers the first mentioned wins more often than not (57.6 % of the
time in a study of Apertus' data). So a comparison can swap its sides, is asked in both orders by
default, and what a judge says of the swapped one is mapped back before it is averaged. The price is
two requests for every pair, judge and principle.

A step describes its judges once (`PairJudge`) and asks from within by `yield from`:

    judge = PairJudge(models=("judge",), prompt="compare_answers")
    preference = yield from compare(judge, Comparison(instruction, first, second))
    preference.p_first        # 0 to 1: the first answer is better
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, NamedTuple

from curate.ask import Ask, Choose, Reply
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.prompt import PromptItem
from curate.prompts.replies import read_label
from curate.prompts.replies.usable_text import written
from curate.row import Message

Orders = Literal["both", "drawn", "given"]
# What a prompt that compares two answers may show, beside what its step adds.
SHOWN = ("instruction", "first", "second", "options", "mark", "principle", "reason")
# What follows a judge's reasoning.
VERDICT_PROMPT = "compare_verdict"


class Comparison(NamedTuple):
    """Two answers to one instruction, in the order in which a judge is shown them."""

    instruction: str
    first: str
    second: str

    def swapped(self) -> Comparison:
        """Return the comparison with its answers the other way round."""
        return self._replace(first=self.second, second=self.first)

    @property
    def longer(self) -> float:
        """Which answer has more characters: 1 the first, 0 the second, 0.5 neither."""
        first, second = len(self.first), len(self.second)
        return 0.5 if first == second else float(first > second)


@dataclass(frozen=True, kw_only=True)
class PairJudge:
    """Who compares, and how: every model is asked by every principle, in every order.

    `options` are what a judge may say: the first answer, the second, and where there is a third,
    that they are equally good. `values` are further variables of the prompt. With `reason` a judge
    writes its reasoning in a request of its own, and its verdict after that. With `complete` the
    prompt is sent as raw text.
    """

    models: tuple[str, ...]
    prompt: str = "compare_answers"
    principles: tuple[PromptItem | None, ...] = (None,)
    options: tuple[str, ...] = ("A", "B")
    reason: bool = False
    complete: bool = False
    temperature: float | None = 0.0
    max_tokens: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def filled(self, comparison: Comparison, principle: PromptItem | None) -> prompts.Rendered:
        """Return the prompt about a comparison."""
        form = prompts.load(self.prompt)
        texts: dict[str, Any] = {
            **comparison._asdict(),
            "options": self.options,
            "mark": prompts.mark_of(*comparison),
            "principle": principle,
            "reason": self.reason or None,
            **self.values,
        }
        return form.render_from(texts)

    def p_first(self, reply: Reply) -> float:
        """Return the probability of the first answer shown; that of a tie is halved between both.

        Without log-probabilities a verdict counts 1, 0, or 0.5 for a tie.

        Raises:
            UnusableReply: no option is likely at all, or the text states none.
        """
        if reply.values:
            chances = reply.chances(self.options)
        else:
            said = self.options.index(read_label(reply, self.options))
            chances = [float(number == said) for number in range(len(self.options))]
        return chances[0] + math.fsum(chances[2:]) / 2


def check_judge(judge: PairJudge) -> None:
    """Raise `ValueError` when `judge` cannot ask, its prompt included."""
    if not judge.models:
        raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
    if len(judge.options) not in (2, 3) or len(set(judge.options)) < len(judge.options):
        raise ValueError(
            f"options is {list(judge.options)}; it holds what a judge says for the first answer, "
            "for the second and, where ties are allowed, for neither, as in [A, B, C]"
        )
    try:
        form = prompts.load_with(judge.prompt, (*SHOWN, *judge.values))
    except CurateError as error:
        raise ValueError(str(error)) from None
    variables = (*form.variables, *form.optional)
    if judge.complete and (judge.reason or form.system is not None):
        raise ValueError(
            f"complete sends one raw text; leave out reason, and give a prompt without a system "
            f"prompt, as compare_answers_brief ('{form.name}' is asked)"
        )
    if judge.reason and "reason" not in variables:
        raise ValueError(f"the prompt '{form.name}' does not ask for reasoning: no variable reason")
    if any(judge.principles) and "principle" not in variables:
        raise ValueError(f"the prompt '{form.name}' shows no principle: no variable principle")


def principles_of(prompt: str, ids: Sequence[str]) -> tuple[PromptItem | None, ...]:
    """Return the items of a prompt with these ids, by default all; none where it shows none.

    Raises:
        ValueError: the prompt has no such item.
    """
    try:
        form = prompts.load(prompt)
        items = [form.item(id_) for id_ in ids] if ids else form.items
    except CurateError as error:
        raise ValueError(str(error)) from None
    shows = "principle" in (*form.variables, *form.optional)
    return tuple(items) if items and (shows or ids) else (None,)


def digest_of(judge_prompt: str, reason: bool) -> str | None:
    """Return the digest of all prompt texts that a judge is sent, for a step's fingerprint."""
    return prompts.digest(judge_prompt, *[VERDICT_PROMPT] * reason)


class Opinion(NamedTuple):
    """What one judge said of a pair in one order; `p_first` is mapped back to the pair's own.

    `mass` is the probability that all options held together, `floored` whether one of them lay
    outside what the server listed; a written verdict has neither.
    """

    model: str
    principle: str | None
    swapped: bool
    p_first: float
    mass: float | None = None
    floored: bool = False
    reasoning: str | None = None

    @property
    def p_shown_first(self) -> float:
        """The probability of the answer that the judge was shown first."""
        return 1 - self.p_first if self.swapped else self.p_first

    def to_json(self) -> dict[str, Any]:
        """Return what a ledger keeps; what does not apply is left out."""
        return {
            "model": self.model,
            **({"principle": self.principle} if self.principle else {}),
            "swapped": self.swapped,
            "p_first": self.p_first,
            **({} if self.mass is None else {"mass": round(self.mass, 6)}),
            **({"floored": True} if self.floored else {}),
            **({"reasoning": self.reasoning} if self.reasoning else {}),
        }


class Preference(NamedTuple):
    """What all judges said of a pair, in all orders."""

    opinions: tuple[Opinion, ...]

    @property
    def p_first(self) -> float:
        """The probability that the first answer is better: the mean of all opinions."""
        return mean_chance([one.p_first for one in self.opinions])

    def order(self, swapped: bool) -> float | None:
        """Return the mean over the opinions of one order, `None` where it was not asked."""
        own = [one.p_first for one in self.opinions if one.swapped == swapped]
        return mean_chance(own) if own else None

    def figures(self, comparison: Comparison) -> dict[str, float]:
        """Return the numbers of one pair, whose means over all pairs a report shows.

        `consistent`: both orders say the same; `same_place_wins`: the answer at the same place wins
        in both; `shown_first_wins` and `longer_wins` count a tie half.
        """
        given, swapped = self.order(False), self.order(True)
        found = {
            "tied": float(self.p_first == 0.5),
            "shown_first_wins": mean([verdict_of(one.p_shown_first) for one in self.opinions]),
        }
        if comparison.longer != 0.5:
            own = verdict_of(self.p_first)
            found["longer_wins"] = own if comparison.longer else 1 - own
        if given is not None and swapped is not None:
            one, other = verdict_of(given), verdict_of(swapped)
            found["consistent"] = float(one == other)
            found["same_place_wins"] = float({one, other} == {0.0, 1.0})
        masses = [one.mass for one in self.opinions if one.mass is not None]
        return found | ({"mass": mean(masses)} if masses else {})

    def to_json(self) -> dict[str, Any]:
        """Return what a ledger keeps."""
        return {
            "p_first": self.p_first,
            "opinions": [one.to_json() for one in self.opinions],
        }


def mean(values: Sequence[float]) -> float:
    """Return the mean of one value or several, the same in whatever order they come."""
    return math.fsum(values) / len(values)


def mean_chance(values: Sequence[float]) -> float:
    """Return the mean of probabilities; what differs from a tie by rounding alone is one."""
    chance = mean(values)
    return 0.5 if abs(chance - 0.5) < 1e-12 else chance


def verdict_of(p_first: float) -> float:
    """Return who wins: 1 the first answer, 0 the second, 0.5 neither."""
    return 0.5 if p_first == 0.5 else float(p_first > 0.5)


def orders_of(orders: Orders, draw: random.Random) -> tuple[bool, ...]:
    """Return in which orders a pair is shown, as whether its answers are swapped."""
    if orders == "both":
        return (False, True)
    return (draw.random() < 0.5,) if orders == "drawn" else (False,)


Comparing = Generator[Sequence[Ask | Choose], list[Reply], list[Preference]]


def compare_all(
    judge: PairJudge, comparisons: Sequence[tuple[Comparison, Sequence[bool]]]
) -> Comparing:
    """Ask about several pairs at once, each in its own orders; return what was said of each.

    Every pair is given as a comparison and the orders (`orders_of`) in which it is shown.

    Raises:
        UnusableReply: a reply states no verdict, or reasoning is empty or cut off.
    """
    cases = [
        (number, one, model, principle, swap)
        for number, (one, orders) in enumerate(comparisons)
        for model, principle, swap in product(judge.models, judge.principles, orders)
    ]
    filled = [
        judge.filled(one.swapped() if swap else one, principle)
        for _, one, _, principle, swap in cases
    ]
    turns: list[tuple[Message, ...]] = [(Message("user", text.text),) for text in filled]
    reasoning: list[str | None] = [None] * len(cases)
    if judge.reason:
        replies = yield [
            Ask(
                model=model,
                messages=own,
                system=text.system,
                temperature=judge.temperature,
                max_tokens=judge.max_tokens,
                share=True,
            )
            for (_, _, model, _, _), own, text in zip(cases, turns, filled, strict=True)
        ]
        reasoning = [written(reply, "the judge's reasoning") for reply in replies]
        cue = prompts.load(VERDICT_PROMPT).render(options=judge.options).text
        turns = [
            (*own, Message("assistant", said or ""), Message("user", cue))
            for own, said in zip(turns, reasoning, strict=True)
        ]
    replies = yield [
        Choose(
            model=model,
            options=judge.options,
            messages=None if judge.complete else own,
            prompt=text.text if judge.complete else None,
            system=text.system,
            share=True,
        )
        for (_, _, model, _, _), own, text in zip(cases, turns, filled, strict=True)
    ]
    found: list[list[Opinion]] = [[] for _ in comparisons]
    for (number, _, model, principle, swap), reply, said in zip(
        cases, replies, reasoning, strict=True
    ):
        p_first = judge.p_first(reply)
        name = None if principle is None else principle.id
        opinion = Opinion(model, name, swap, 1 - p_first if swap else p_first)
        found[number].append(
            opinion._replace(mass=reply.mass, floored=bool(reply.floored), reasoning=said)
        )
    return [Preference(tuple(opinions)) for opinions in found]


def compare(
    judge: PairJudge, comparison: Comparison, orders: Sequence[bool] = (False, True)
) -> Generator[Sequence[Ask | Choose], list[Reply], Preference]:
    """Ask about one pair in these orders (`orders_of`); return what was said of it."""
    found = yield from compare_all(judge, [(comparison, orders)])
    return found[0]


def shown_turns(turns: Sequence[Message]) -> str:
    """Return turns as a judge reads them: the text of one, or of several with their roles.

    Raises:
        ValueError: a turn holds media, which a comparison of texts cannot show.
    """
    texts = []
    for turn in turns:
        if turn.media:
            raise ValueError(
                f"this judge cannot read {turn.media[0]:.60}: a comparison shows texts and tool "
                "calls; leave rows with media out"
            )
        calls = [f"{name}({arguments})" for name, arguments in turn.calls]
        texts.append("\n".join([turn.content] * bool(turn.content.strip() or not calls) + calls))
    if len(turns) == 1:
        return texts[0]
    return "\n\n".join(f"{turn.role}: {text}" for turn, text in zip(turns, texts, strict=True))


def answer_text(turns: Sequence[Message]) -> str:
    """Return an answer as a judge reads it, or raise `ValueError` where it says nothing."""
    text = shown_turns(turns)
    if not text.strip():
        raise ValueError("an answer is empty; drop such rows first, as with structure or length")
    return text
