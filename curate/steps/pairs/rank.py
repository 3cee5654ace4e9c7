"""Rank the answers to a prompt: every pair in both orders, or all of them in one list."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, ClassVar, Literal, NamedTuple

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError, UnusableReply
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_again, ask_until
from curate.prompts.replies.plain_lines import read
from curate.prompts.replies.ranks import ranks_in
from curate.row import Message, Row
from curate.step import Asking, Figures, Generate, Made
from curate.steps.pairs._answers import rescored
from curate.steps.pairs._comparison import (
    Comparison,
    Orders,
    PairJudge,
    answer_text,
    check_judge,
    compare_all,
    digest_of,
    mean,
    orders_of,
    principles_of,
    shown_turns,
    verdict_of,
)

_PROMPTS = {"tournament": "compare_answers", "listwise": "rank_answers"}


@dataclass(frozen=True, kw_only=True)
class Rank(Generate):
    """Rank the candidates of a row with a judge, and score each from 0 to 1.

    `method: tournament` compares every pair as `prefer` does (n × (n - 1) requests for n
    candidates, half of them with one order), and a candidate's score is its mean probability of
    being better. `method: listwise` ranks all candidates in one reply, and the score is the share
    of the others that a candidate outranks, with a tie counting half. `model` is the judge.
    `models` lists several, whose scores are averaged. `orders: both` shows a list in an order drawn
    from the row's seed and in its reverse, and a pair in the given order and swapped; `drawn` shows
    one drawn order, `given` only the given one.

    `prompt` is the name or path of the judge's prompt (by default `compare_answers` or
    `rank_answers`). `principles`, `options`, `reason`, `temperature` and `max_tokens` are those of
    `prefer`. `complete` sends the prompt as raw text to be completed, for small models; a listwise
    prompt without a schema is answered with just the ranks ("2, 1, 3"). `repairs` is how often a
    listwise judge is told what is wrong with its reply and asked again. The scores that candidates
    already had move to their extra fields, as `score_before_LABEL`. The row's own score is the best
    candidate's minus the second one's. The report shows the effects of order: how often each
    position of a list comes first, or the answer shown first wins; how often the orders agree; how
    often the longest candidate is the best.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    method: Literal["tournament", "listwise"] = "tournament"
    prompt: str | None = None
    principles: tuple[str, ...] = ()
    options: tuple[str, ...] = ("A", "B")
    orders: Orders = "both"
    reason: bool = False
    complete: bool = False
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 1024

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "compare_answers_brief",
        "complete": True,
    }
    source: ClassVar[str] = (
        "Zheng et al. 2023 (pairs), arXiv 2306.05685; Ouyang et al. 2022 (ranked lists), 2203.02155"
    )
    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("ranked",)
    scores_made: ClassVar[bool] = True
    judges: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, and what only the other method does."""
        check_asking(self.reads_models(), repairs=self.repairs, max_tokens=self.max_tokens)
        if self.method == "listwise" and (self.reason or self.principles):
            raise ValueError(
                "reason and principles belong to a tournament; say them in the prompt of a list"
            )

    def prepare(self) -> None:
        """Read the prompt, and reject one that cannot show the candidates."""
        if self.method == "tournament":
            check_judge(self._judge())
            return
        try:
            form = prompts.load_with(self._prompt(), ("instruction", "answers", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and (form.system is not None or form.schema is not None):
            raise ValueError(
                f"complete sends text and reads numbers, but the prompt '{form.name}' has a system "
                "prompt or a schema; give another, as rank_answers_brief"
            )

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of all models that rank."""
        return self.models if self.model is None else (self.model, *self.models)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": digest_of(self._prompt(), self.reason)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows stay ranked answers."""
        return frozenset({"ranked"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask about the candidates, and score them."""
        answers = [answer_text(one.messages) for one in row.candidates]
        if len(answers) < 2:
            raise ValueError(f"the row has {len(answers)} candidates; to rank takes two or more")
        asked, draw = shown_turns(row.prompt), row.random(self.title)
        if self.method == "tournament":
            standing = yield from self._tournament(asked, answers, draw)
        else:
            standing = yield from self._listwise(asked, answers, draw)
        scores, lengths = standing.scores, [len(answer) for answer in answers]
        candidates = tuple(
            rescored(one, score, self.title)
            for one, score in zip(row.candidates, scores, strict=True)
        )
        best, second = sorted(scores, reverse=True)[:2]
        figures = dict(standing.figures)
        if lengths.count(max(lengths)) == 1:
            longest = lengths.index(max(lengths))
            figures["longest_is_best"] = (scores[longest] == best) / scores.count(best)
        made = row.rewrite(candidates=candidates)
        return [Made(made, best - second, standing.detail), Figures(figures)]

    def _tournament(
        self, asked: str, answers: Sequence[str], draw: random.Random
    ) -> Asking:  # of a Standing
        import numpy as np

        from curate.kernels.votes.strengths import has_cycle

        pairs = list(combinations(range(len(answers)), 2))
        comparisons = [Comparison(asked, answers[i], answers[j]) for i, j in pairs]
        orders = [orders_of(self.orders, draw) for _ in pairs]
        found = yield from compare_all(self._judge(), list(zip(comparisons, orders, strict=True)))
        chances: list[list[float]] = [[] for _ in answers]
        wins = np.zeros((len(answers), len(answers)))
        for (i, j), preference in zip(pairs, found, strict=True):
            wins[i, j] = verdict_of(preference.p_first)
            wins[j, i] = 1 - wins[i, j]
            chances[i].append(preference.p_first)
            chances[j].append(1 - preference.p_first)
        every = [one.figures(shown) for one, shown in zip(found, comparisons, strict=True)]
        names = dict.fromkeys(name for figures in every for name in figures)
        figures = {name: mean([own[name] for own in every if name in own]) for name in names}
        figures["cyclic"] = float(has_cycle(wins))
        detail = [
            {"pair": pair, **preference.to_json()}
            for pair, preference in zip(pairs, found, strict=True)
        ]
        return Standing([mean(own) for own in chances], figures, {"pairs": detail})

    def _listwise(
        self, asked: str, answers: Sequence[str], draw: random.Random
    ) -> Asking:  # of a Standing
        order = list(range(len(answers)))
        if self.orders != "given":
            draw.shuffle(order)
        orders = [order, order[::-1]] if self.orders == "both" else [order]
        cases = list(product(self.reads_models(), orders))
        asks = [self._ask(model, asked, [answers[n] for n in own]) for model, own in cases]
        schema = prompts.load(self._prompt()).schema

        def parse(text: str) -> dict[str, Any]:
            return ranks_in(text, schema, len(answers))

        replies: list[Reply] = yield asks
        lists = []
        for ask, reply, (model, own) in zip(asks, replies, cases, strict=True):
            try:
                found = read(reply, parse)
            except UnusableReply as error:
                again = ask_again(ask, reply, error) if self.repairs else None
                if again is None:
                    raise
                found, _ = yield from ask_until(again, parse, repairs=self.repairs - 1)
            ranks = [found["ranks"][own.index(n)] for n in range(len(answers))]
            lists.append(RankedList(model, own, ranks, found.get("rationale")))
        scores = [mean(own) for own in zip(*(one.outranked() for one in lists), strict=True)]
        figures = {
            f"place_{place}_wins": mean([one.wins_at(place - 1) for one in lists])
            for place in range(1, len(answers) + 1)
        }
        if self.orders == "both":
            figures["orders_agree"] = mean(
                [one.agreement(other) for one, other in zip(lists[::2], lists[1::2], strict=True)]
            )
        return Standing(scores, figures, {"lists": [one.to_json() for one in lists]})

    def _ask(self, model: str, asked: str, answers: Sequence[str]) -> Ask:
        """Return the request to rank answers, in the order in which they are given."""
        form = prompts.load(self._prompt())
        values = {
            "instruction": asked,
            "answers": answers,
            "mark": prompts.mark_of(asked, *answers),
        }
        filled = form.render_from(values)
        return Ask(
            model=model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            stop=("\n",) if self.complete else (),
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            share=True,
        )

    def _prompt(self) -> str:
        return self.prompt or _PROMPTS[self.method]

    def _judge(self) -> PairJudge:
        return PairJudge(
            models=self.reads_models(),
            prompt=self._prompt(),
            principles=principles_of(self._prompt(), self.principles),
            options=self.options,
            reason=self.reason,
            complete=self.complete,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


class Standing(NamedTuple):
    """How candidates came out: a score from 0 to 1 for each, figures, and the evidence."""

    scores: list[float]
    figures: Mapping[str, float]
    detail: Mapping[str, Any]


class RankedList(NamedTuple):
    """What one model made of the candidates in one order: the rank of each, 1 for the best.

    `shown` numbers the candidates in the order in which the model saw them.
    """

    model: str
    shown: list[int]
    ranks: list[int]
    rationale: str | None = None

    def outranked(self) -> list[float]:
        """Return the share of the others that each candidate outranks, a tie counting half."""
        return [
            (sum(other > own for other in self.ranks) + (self.ranks.count(own) - 1) / 2)
            / (len(self.ranks) - 1)
            for own in self.ranks
        ]

    def wins_at(self, place: int) -> float:
        """Return the share of the first rank that fell to the candidate shown at `place`."""
        first = self.ranks[self.shown[place]] == 1
        return first / self.ranks.count(1)

    def agreement(self, other: RankedList) -> float:
        """Return the share of pairs of candidates that both lists put in the same order."""
        pairs = list(combinations(range(len(self.ranks)), 2))

        def order(one: RankedList, i: int, j: int) -> int:
            return (one.ranks[i] > one.ranks[j]) - (one.ranks[i] < one.ranks[j])

        return mean([float(order(self, *pair) == order(other, *pair)) for pair in pairs])

    def to_json(self) -> dict[str, Any]:
        """Return what a ledger keeps."""
        found = {"model": self.model, "shown": self.shown, "ranks": self.ranks}
        return found | ({"rationale": self.rationale} if self.rationale else {})
