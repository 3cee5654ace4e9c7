"""Log-probabilities that a model gives answers: losses, other rows' answers, sides of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curate.evaluate.model.resampling import bootstrap
from curate.evaluate.model.stages import Stages, column
from curate.pipeline import Result
from curate.row import Row
from curate.runs.ledger_scores import scored_details, scores_by_row
from curate.steps.score.surprisal import Surprisal
from curate.train.held_out_scores import circle_of


def losses_of(result: Result, step: Surprisal) -> dict[str, tuple[float, float]]:
    """Return the mean loss and the number of tokens of each row that has a loss."""
    scores = scores_by_row(result.folder, step.title)
    return {
        row: (scores[row], float(detail["tokens"]))
        for row, detail in scored_details(result.folder, step.title)
        if row in scores and "tokens" in detail
    }


def prompt_contrast(
    stages: Stages,
    rows: Sequence[Row],
    step: Surprisal,
    losses: dict[str, tuple[float, float]],
) -> Any:
    """Return by how much each row's answer fits its own prompt better than another row's does.

    Each takes the answer of the one before it in a circle (`circle_of`).
    """
    from curate.read.shapes.record_fields import turns_of

    before = circle_of(rows)

    def swapped() -> Iterator[dict[str, Any]]:
        for place, row in enumerate(rows):
            other = rows[before[place]].messages
            last = max(n for n, turn in enumerate(other) if turn.role == "assistant")
            end = max(n for n, turn in enumerate(row.messages) if turn.role == "assistant")
            turns = (*row.messages[:end], other[last])
            yield {"messages": turns_of(turns), "answered_for": row.id}

    path = stages.write("other-answers", swapped())
    result = stages.run("other-answers", [step], path, shape="messages", limit=None)
    found = losses_of(result, step)
    gaps = [
        found[row.id][0] - losses[of][0]
        for row in result.kept
        if (of := column(row, "answered_for")) in losses and row.id in found
    ]
    return bootstrap(gaps)


def likelihood_margins(
    stages: Stages, data: str
) -> tuple[list[Row], dict[str, np.ndarray], Result]:
    """Return pairs with the differences of their log-probabilities, summed and per token."""
    from curate.read.shapes.record_fields import turns_of

    read = stages.run("pairs", [], data)
    rows = [row for row in read.kept if row.kind == "preference"]
    path = stages.write(
        "sides",
        (
            {"messages": turns_of((*row.prompt, *side)), "of": row.id, "side": name}
            for row in rows
            for name, side in (("chosen", row.chosen), ("rejected", row.rejected))
        ),
    )
    step = Surprisal(model="candidate", min=None, max=None)
    result = stages.run("sides", [step], path, shape="messages", limit=None)
    losses = losses_of(result, step)
    sides: dict[str, dict[str, tuple[float, float]]] = {}
    for one in result.kept:
        if one.id in losses:
            columns = json.loads(one.extra or "{}")
            sides.setdefault(columns["of"], {})[columns["side"]] = losses[one.id]
    known = [row for row in rows if len(sides.get(row.id, ())) == 2]
    pairs = [(sides[row.id]["chosen"], sides[row.id]["rejected"]) for row in known]
    sums = np.array([-a[0] * a[1] + b[0] * b[1] for a, b in pairs])
    return known, {"": sums, "_per_token": np.array([b[0] - a[0] for a, b in pairs])}, result
