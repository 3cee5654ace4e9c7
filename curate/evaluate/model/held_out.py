"""What a model makes of rows that it has not learnt: losses, prompt contrast, order of pairs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import UsageError
from curate.evaluate.model.likelihoods import (
    TurnLoss,
    likelihood_margins,
    losses_of,
    prompt_contrast,
)
from curate.evaluate.model.resampling import bootstrap, paired_test
from curate.evaluate.model.stages import GROUPS, Stages, column
from curate.evaluate.rank_statistics import clustered_share
from curate.runs.ledger_scores import scores_by_row
from curate.steps.score.reward_score import RewardScore


def held_out_loss(stages: Stages, data: str) -> dict[str, Any]:
    """Return the loss of the answers of conversations, and the contrast of their prompts.

    What counts is what training supervises: each answer's tokens and the token that ends its turn.
    So the loss of a row is the one that `curate prove` measures of it and `curate train sft` learns
    from; what a trainer reports is a mean over batches, each of which is the mean of its tokens.
    `loss_per_token` weighs all tokens alike, `loss_per_row` all rows; `perplexity` is that of the
    tokens. `prompt_contrast` is the loss per token of another row's last answer after a row's
    prompt, minus that of its own, the mean over rows: 0 for a model that does not read prompts.
    Losses are in nats.

    Args:
        stages: where the runs go; its model is `candidate`, which must answer `TurnLikelihood`.
        data: a path to conversations.

    Raises:
        UsageError: no row has a loss.
    """
    step = TurnLoss(model="candidate")
    own = stages.run("held-out", [step], data)
    rows = [row for row in own.kept if row.kind == "sft"]
    losses = losses_of(own, step)
    measured = [row for row in rows if row.id in losses]
    if not measured:
        raise UsageError(
            f"{own.folder} has no conversation with a loss ({own.summary['failed']:,} rows failed)"
        )
    tokens = np.array([losses[row.id][1] for row in measured])
    each = np.array([losses[row.id][0] for row in measured])
    per_token = float((each * tokens).sum() / tokens.sum())
    found: dict[str, Any] = {
        "rows": len(measured),
        "tokens": int(tokens.sum()),
        "loss_per_token": per_token,
        "perplexity": math.exp(min(per_token, 700.0)),
        "loss_per_row": bootstrap(each),
        "failed": own.summary["failed"],
        "groups": {},
    }
    for kind, names in GROUPS.items():
        groups: dict[str, list[float]] = {}
        for row, loss in zip(measured, each, strict=True):
            groups.setdefault(column(row, *names), []).append(float(loss))
        if len(groups) > 1:
            found["groups"][kind] = {
                name: {"rows": len(values), "loss_per_row": bootstrap(values)}
                for name, values in sorted(groups.items())
            }
    if len(measured) > 1:
        found["prompt_contrast"] = prompt_contrast(stages, measured)
    return found


def order_of_pairs(stages: Stages, data: str, *, by: str) -> dict[str, Any]:
    """Return how often a model puts the chosen answer of a pair before the rejected one.

    Args:
        stages: where the runs go; its model is `candidate`.
        data: a path to preferences.
        by: `reward`, the score of a reward model; or `likelihood`: the log-probabilities that a
            language model gives both answers, as a sum (`accuracy`) and per token
            (`accuracy_per_token`), which length does not decide.

    Raises:
        UsageError: no pair was scored.
    """
    if by == "reward":
        step = RewardScore(model="candidate", at_least=None)
        result = stages.run("pairs", [step], data)
        scores = scores_by_row(result.folder, step.title)
        rows = [row for row in result.kept if row.kind == "preference" and row.id in scores]
        margins = {"": np.array([scores[row.id] for row in rows])}
    else:
        rows, margins, result = likelihood_margins(stages, data)
    if not rows:
        raise UsageError(
            f"{result.folder} scored no pair ({result.summary['failed']:,} rows failed)"
        )
    prompts = [row.instruction for row in rows]
    words = [[len(side[-1].text.split()) for side in (row.chosen, row.rejected)] for row in rows]
    longest = np.array([(np.sign(a - b) + 1) / 2 for a, b in words])
    found: dict[str, Any] = {"pairs": len(rows), "by": by, "failed": result.summary["failed"]}
    for name, values in margins.items():
        right = (np.sign(values) + 1) / 2
        found[f"accuracy{name}"] = clustered_share(right, prompts)
        found[f"margin{name}"] = bootstrap(values, prompts)
        found[f"against_longest{name}"] = paired_test(right, longest, prompts)._asdict()
    found["accuracy_longest"] = clustered_share(longest, prompts)
    found["groups"] = {}
    right = (np.sign(margins[""]) + 1) / 2
    for kind, names in GROUPS.items():
        own = [column(row, *names) for row in rows]
        if len(set(own)) > 1:
            found["groups"][kind] = {
                name: {
                    "pairs": own.count(name),
                    "accuracy": clustered_share(right[at], np.array(prompts)[at]),
                }
                for name in sorted(set(own))
                for at in [np.array([one == name for one in own])]
            }
    return found


def scores_pairs_by(model: str) -> str:
    """Return what a model says of an answer: `reward` of a classifier, else `likelihood`.

    A folder of a trained model says so in its configuration.
    """
    folder = Path(model.removeprefix("hf:"))
    if model.startswith("scar:"):
        return "reward"
    for name, key in (("config.json", "architectures"), ("adapter_config.json", "task_type")):
        path = folder / name
        if path.is_file():
            said = str(json.loads(path.read_text(encoding="utf-8")).get(key))
            if "SequenceClassification" in said or said == "SEQ_CLS":
                return "reward"
    return "likelihood"
