"""Let a judge say which of two answers is better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from curate.ask import check_asking
from curate.row import Candidate, Record, Row
from curate.step import Asking, Drop, Figures, Generate, Made, rule
from curate.steps.pairs._comparison import (
    Comparison,
    Orders,
    PairJudge,
    Preference,
    answer_text,
    check_judge,
    compare,
    digest_of,
    orders_of,
    principles_of,
    shown_turns,
)
from curate.steps.pairs.aggregate import turned_columns

NO_DIFFERENCE = "the judge prefers neither"
_SIDES = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True)
class Prefer(Generate):
    """Have a judge compare two answers, and make the preferred one `chosen`.

    It takes preference pairs and `ranked` rows with two candidates; both leave as preferences with
    `p_chosen`, the probability that the chosen answer is better. `model` is the judge. `models`
    lists several, whose probabilities are averaged. `principles` lists items of the prompt to
    compare by, also averaged (all by default). `orders: both` asks twice, with the answers swapped,
    so that a position bias cancels out; `drawn` asks once, in an order drawn from the row's seed,
    and `given` once, in the given order. The judgement is a probability if the model returns
    log-probabilities; otherwise the reply must be one of the options. `options` are the words for
    the first answer, the second and, with a third one, a tie. With `reason`, the judge first writes
    its reasoning, and its verdict in a second request. `temperature` and `max_tokens` are those of
    the reasoning. `prompt` is the name or path of the prompt file. `complete` sends it as raw text
    to be completed, for small models.

    With `sides: given`, the sides are never swapped: `p_chosen` is then the probability of the
    given chosen answer, or of the first candidate, and may be below 0.5. Pairs with a `p_chosen`
    below `at_least` are dropped. `drop_ties` drops those at exactly 0.5, unless sides are given.
    `margin` keeps its meaning; models and scores of candidates become the columns `chosen_model`,
    `rejected_score` and so on. The ledger records every judgement; the report shows how often both
    orders agree, and how often the answer shown first, or the longer one, wins.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    prompt: str = "compare_answers"
    principles: tuple[str, ...] = ()
    options: tuple[str, ...] = ("A", "B")
    orders: Orders = "both"
    reason: bool = False
    complete: bool = False
    temperature: float | None = 0.0
    max_tokens: int | None = 1024
    sides: Literal["judged", "given"] = "judged"
    at_least: float | None = rule(None)
    drop_ties: bool = rule(True)

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "compare_answers_brief",
        "complete": True,
    }
    source: ClassVar[str] = (
        "Lee et al. 2023 (RLAIF), arXiv 2309.00267, section 3.1; Zheng et al. 2023, 2306.05685"
    )
    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("preference", "ranked")
    scores_made: ClassVar[bool] = True
    judges: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, or with a limit that nothing can meet."""
        check_asking(self.reads_models(), max_tokens=self.max_tokens)
        if self.at_least is not None and not 0 <= self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least}; it is a probability from 0 to 1")

    def prepare(self) -> None:
        """Read the prompt, and reject one that cannot show a pair."""
        check_judge(self.judge())

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of all models that compare."""
        return self.models if self.model is None else (self.model, *self.models)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": digest_of(self.prompt, self.reason)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become preferences."""
        return frozenset({"preference"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask about the row's two answers, and make a preference of them."""
        pair = pair_of(row)
        shown = Comparison(
            shown_turns(row.prompt),
            answer_text(pair.first.messages),
            answer_text(pair.second.messages),
        )
        orders = orders_of(self.orders, row.random(self.title))
        said = yield from compare(self.judge(row), shown, orders)
        counted = self.counted(said)
        p_first, figures = counted.p_first, Figures(counted.figures(shown))
        detail = {**said.to_json(), "p_first": p_first}
        if self.sides == "judged" and p_first < 0.5:
            pair, p_first = pair.swapped(), 1 - p_first
        if self.sides == "judged" and p_first == 0.5 and self.drop_ties:
            return [Drop(NO_DIFFERENCE, p_first, detail=detail), figures]
        if self.at_least is not None and p_first < self.at_least:
            return [Drop(f"preferred below {self.at_least:g}", p_first, detail=detail), figures]
        return [Made(pair.record(row, p_first), p_first, detail), figures]

    def counted(self, said: Preference) -> Preference:
        """Return the opinions as they count, given what the judges said: as they are."""
        return said

    def judge(self, row: Row | None = None) -> PairJudge:
        """Return who compares the answers of `row`; of all rows, where none is given."""
        return PairJudge(
            models=self.reads_models(),
            prompt=self.prompt,
            principles=principles_of(self.prompt, self.principles),
            options=self.options,
            reason=self.reason,
            complete=self.complete,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


class AnswerPair(NamedTuple):
    """The two answers of a row; `margin` is the first one's score minus the second one's."""

    first: Candidate
    second: Candidate
    margin: float | None
    turned: bool = False

    def swapped(self) -> AnswerPair:
        """Return the pair with its answers the other way round."""
        margin = None if self.margin is None else -self.margin
        return AnswerPair(self.second, self.first, margin, not self.turned)

    def record(self, row: Row, p_chosen: float) -> Record:
        """Return the preference for the first answer, made of `row`.

        What is known of each answer stands in columns of its own, which change sides with it.

        Raises:
            ValueError: the row has such a column already.
        """
        extra = json.loads(row.extra or "{}")
        if self.turned and row.kind == "preference":
            extra = turned_columns(extra)
        for side, one in zip(_SIDES, (self.first, self.second), strict=True):
            about = {"model": one.model, "score": one.score}
            about["extra"] = json.loads(one.extra) if one.extra else None
            for name, value in about.items():
                column = f"{side}_{name}"
                if value is None:
                    continue
                if column in extra:
                    raise ValueError(
                        f"the row has a column '{column}', which would be lost: a preference has "
                        "that of its candidate there; rename the column first"
                    )
                extra[column] = value
        fields = {
            "prompt": row.prompt,
            "chosen": self.first.messages,
            "rejected": self.second.messages,
            "margin": self.margin,
            "p_chosen": p_chosen,
        }
        return Record(
            "preference", fields, json.dumps(extra, ensure_ascii=False) if extra else None
        )


def pair_of(row: Row) -> AnswerPair:
    """Return the two answers of a row: chosen and rejected, or its only two candidates.

    Raises:
        ValueError: the row has another number of candidates.
    """
    if row.kind == "preference":
        margin: float | None = row.fields.get("margin")
        return AnswerPair(Candidate(row.chosen), Candidate(row.rejected), margin)
    if len(row.candidates) != 2:
        raise ValueError(
            f"the row has {len(row.candidates)} candidates, and a pair has two; let rank order them"
        )
    first, second = row.candidates
    known = first.score is not None and second.score is not None
    return AnswerPair(first, second, first.score - second.score if known else None)  # type: ignore[operator]
