"""Log-probabilities that a model gives answers: losses, other rows' answers, sides of pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from curate.ask import TurnLikelihood
from curate.evaluate.model.resampling import bootstrap
from curate.evaluate.model.stages import Stages
from curate.pipeline import Result
from curate.read.shapes.record_fields import TEMPLATE_COLUMNS, extra_columns, turns_of
from curate.row import Message, Row
from curate.runs.ledger_scores import scored_details, scores_by_row
from curate.step import Asking, Filter, Scored
from curate.steps.score._answer import template_options
from curate.train.data import prompt_turns
from curate.train.held_out_scores import circle_of

# The column of a file between two runs that says which turn is the first that counts.
COUNTS_FROM = "counts_from"


@dataclass(frozen=True, kw_only=True)
class TurnLoss(Filter):
    """Score a conversation by the mean loss of the assistant's turns, as training supervises them.

    The loss is that of the answers' tokens and of the tokens that end the turns, in nats. All
    answers count, or those from the turn on whose number the column `counts_from` names. Nothing is
    dropped; a conversation without a token that counts has no score.
    """

    model: str
    counts_from: str | None = None

    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def score(self, row: Row) -> Asking:
        """Ask for the log-probabilities of the turns."""
        start = int(json.loads(row.extra or "{}")[self.counts_from]) if self.counts_from else 0
        answers = (n for n, turn in enumerate(row.messages) if turn.role == "assistant")
        # The first that counts, by whatever name: equal requests share one reply.
        first = next((n for n in answers if n >= start), None)
        if first is None:
            raise ValueError("the row has no answer whose loss could be measured")
        reply = yield TurnLikelihood(
            model=self.model,
            messages=row.messages,
            first=first,
            template_options=template_options(row),
        )
        if not reply.values:
            return Scored(None)
        loss = -math.fsum(reply.values) / len(reply.values)
        return Scored(loss, {"tokens": len(reply.values)})

    def keep(self, score: float | None) -> None:
        """Keep every row."""


def losses_of(result: Result, step: TurnLoss) -> dict[str, tuple[float, float]]:
    """Return the mean loss and the number of tokens of each row that has a loss."""
    scores = scores_by_row(result.folder, step.title)
    return {
        row: (scores[row], float(detail["tokens"]))
        for row, detail in scored_details(result.folder, step.title)
        if row in scores and "tokens" in detail
    }


def prompt_contrast(stages: Stages, rows: Sequence[Row]) -> Any:
    """Return by how much each row's last answer fits its own prompt better than another row's does.

    Each takes the answer of the one before it in a circle (`circle_of`). Only last answers count.
    """
    before = circle_of(rows)
    talks = [_up_to_last_answer(row) for row in rows]

    def both() -> Iterator[dict[str, Any]]:
        for place, (row, (prompt, own)) in enumerate(zip(rows, talks, strict=True)):
            for name, answer in (("own", own), ("other", talks[before[place]][1])):
                yield _record(row, prompt, answer, name)

    losses, _ = _losses_of_sides(stages, "other-answers", both())
    gaps = [
        found["other"][0] - found["own"][0]
        for row in rows
        if len(found := losses.get(row.id, {})) == 2
    ]
    return bootstrap(gaps)


def _up_to_last_answer(row: Row) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the prompt of a conversation's last answer, and that answer."""
    last = max(n for n, turn in enumerate(row.messages) if turn.role == "assistant")
    turns = row.messages[: last + 1]
    prompt = prompt_turns(row._replace(fields={**row.fields, "messages": turns}))
    return prompt, turns[len(prompt) :]


def _record(
    row: Row, prompt: Sequence[Message], answer: Sequence[Message], side: str
) -> dict[str, Any]:
    """Return a conversation in whose loss `answer` counts, with what its template reads."""
    columns = {n: v for n, v in extra_columns(row).items() if n in TEMPLATE_COLUMNS}
    turns = turns_of((*prompt, *answer))
    return {"messages": turns, **columns, COUNTS_FROM: len(prompt), "of": row.id, "side": side}


def _losses_of_sides(
    stages: Stages, name: str, records: Iterator[dict[str, Any]]
) -> tuple[dict[str, dict[str, tuple[float, float]]], Result]:
    """Return the losses of the conversations in `records`, by their row and side."""
    path = stages.write(name, records)
    step = TurnLoss(model="candidate", counts_from=COUNTS_FROM)
    result = stages.run(name, [step], path, shape="messages", limit=None)
    losses = losses_of(result, step)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for one in result.kept:
        if one.id in losses:
            columns = json.loads(one.extra or "{}")
            found.setdefault(columns["of"], {})[columns["side"]] = losses[one.id]
    return found, result


def likelihood_margins(
    stages: Stages, data: str
) -> tuple[list[Row], dict[str, np.ndarray], Result]:
    """Return pairs with the differences of their log-probabilities, summed and per token."""
    read = stages.run("pairs", [], data)
    rows = [row for row in read.kept if row.kind == "preference"]
    records = (
        _record(row, row.prompt, side, name)
        for row in rows
        for name, side in (("chosen", row.chosen), ("rejected", row.rejected))
    )
    sides, result = _losses_of_sides(stages, "sides", records)
    known = [row for row in rows if len(sides.get(row.id, ())) == 2]
    pairs = [(sides[row.id]["chosen"], sides[row.id]["rejected"]) for row in known]
    sums = np.array([-a[0] * a[1] + b[0] * b[1] for a, b in pairs])
    return known, {"": sums, "_per_token": np.array([b[0] - a[0] for a, b in pairs])}, result
