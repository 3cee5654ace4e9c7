"""A judge's win rate of a model against a baseline, in both orders, beside a constant answer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import UsageError
from curate.evaluate.model.contest_rows import contest_records, judged_contests
from curate.evaluate.model.contests import Contest, contest_groups, contest_measures
from curate.evaluate.model.resampling import bootstrap, paired_test
from curate.evaluate.model.stages import Stages
from curate.pipeline import Result
from curate.steps.generate.respond import Respond
from curate.steps.pairs.rank import Rank

# A reply that says nothing: Zheng et al. 2024 ("null models"), arXiv 2410.07137, show that some
# judges prefer such a text to answers of good models.
CONSTANT = "I am not able to say anything about this."


def judge_win_rate(
    stages: Stages,
    prompts: str,
    *,
    baseline: str | None = None,
    judge: Rank | None = None,
    constant: str | None = CONSTANT,
    answer: Mapping[str, Any] | None = None,
    against: Path | None = None,
) -> dict[str, Any]:
    """Let a model answer prompts, and a judge compare its answers with a baseline's.

    Args:
        stages: where the runs go; its models are `candidate`, `judge`, and `baseline` if that is
            one.
        prompts: a path to prompts, or to conversations whose last answers are replaced.
        baseline: `answers`, the conversations' own, or a column with answers; `None` for the model
            `baseline`.
        judge: the step that compares, `rank` with both orders unless another is given.
        constant: an answer that is judged in the model's place, as a control; `None` for none.
        answer: fields of the step `respond` that answers.
        against: the folder of another model's evaluation on the same prompts, to be compared.

    Returns:
        The measures of `contest_measures`, with `groups`, `constant`, `against_constant` and
        `against`.

    Raises:
        UsageError: no row has a baseline's answer, or the other evaluation has none of the prompts.
    """
    judge = judging_step() if judge is None else judge
    names = ("candidate", "baseline") if baseline is None else ("candidate",)
    respond = Respond(
        models=names,
        to="ranked" if baseline is None else "sft",
        keep_parent=baseline is not None,
        **{"temperature": 0.0, **(answer or {})},
    )
    answered = stages.run("answers", [respond], prompts)
    path = stages.write("contests", contest_records(answered.kept, baseline, constant))
    judged = stages.run("judged", [judge], path, shape="ranked", limit=None)
    every: dict[str, list[Contest]] = {"model": [], "constant": []}
    for who, one in judged_contests(judged, judge):
        every[who].append(one)
    contests, constants = every["model"], every["constant"]
    if not contests:
        raise UsageError(
            f"{judged.folder} judged no answer ({judged.summary['failed']:,} rows failed); "
            f"`curate explain {judged.folder}` shows why"
        )
    found = contest_measures(contests) | {"failed": judged.summary["failed"]}
    if groups := contest_groups(contests):
        found["groups"] = groups
    if constants:
        found["constant"] = {
            "prompts": len(constants),
            "win_rate": bootstrap([one.wins for one in constants]),
        }
        found["against_constant"] = _paired(contests, constants)
    if against is not None:
        run = Result.open(against / "judged")
        other = [one for who, one in judged_contests(run, judge) if who == "model"]
        test = _paired(contests, other)
        if test is None:
            raise UsageError(f"{against} has none of the prompts that are judged here")
        found["against"] = {"run": str(against), **test}
    return found


def judging_step(model: str | None = None) -> Rank:
    """Return the step that judges: a tournament of two, in both orders.

    `model` is the judge as a recipe writes it: the embedded one is asked in the form for small
    models.
    """
    small = Rank.for_small_models if model == "local" else {}
    return Rank(model="judge", keep_parent=True, **small)


def _paired(one: Sequence[Contest], other: Sequence[Contest]) -> dict[str, Any] | None:
    """Return the paired test of two sets of contests on the prompts that both have."""
    wins = [dict[str, list[float]](), dict[str, list[float]]()]
    for side, contests in zip(wins, (one, other), strict=True):
        for contest in contests:
            if contest.wins is not None:
                side.setdefault(contest.row, []).append(contest.wins)
    both = sorted(wins[0].keys() & wins[1].keys())
    if not both:
        return None
    first, second = (np.array([np.mean(side[key]) for key in both]) for side in wins)
    return paired_test(first, second)._asdict()
