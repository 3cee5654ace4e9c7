"""Measure a judge that gives scores: run it over labelled rows, and compare scores with labels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.evaluate.calibration import Calibration
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.judgement_columns import number_at
from curate.evaluate.rank_statistics import auc, cohen_kappa, histogram, kendall, share, spearman
from curate.evaluate.row_groups import NO_GROUP, RowGroups
from curate.kernels.arrays.agreement import collapse_of
from curate.pipeline import Pipeline, Result
from curate.row import Row
from curate.runs.ledger_scores import ledger_scores, scores_by_row
from curate.step import Filter, Step, Whole
from curate.steps.score.rubric import Rubric

# Beyond this, Kendall's tau takes longer than a reader waits; the rank correlation stands alone.
MOST_FOR_KENDALL = 5000
_LABELS = ("label", "score", "rating")


class JudgedRow(NamedTuple):
    """A labelled row, its judge's score (`None`: none was given), and its answer's characters."""

    row: str
    label: float
    score: float | None
    length: int
    group: str = NO_GROUP


def evaluate_judge(
    labelled: Any,
    judge: Any = None,
    *,
    step: Step | None = None,
    label: str | None = None,
    at_least: float | None = None,
    by: str | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Result]:
    """Score labelled rows with a judge, and measure how far its scores follow the labels.

    Args:
        labelled: rows with a label each: a path, or rows.
        judge: the model, as a recipe writes it.
        step: what scores: any filter or whole step; by default `rubric`.
        label: the column with the labels, numbers or true and false; by default the label of
            `unpaired` rows, or a column called label, score or rating.
        at_least: from which score on the judge calls a row good, where labels are good and bad; by
            default the step's own limit of that name.
        by: a column whose values are measured apart; by default the language, of a column called
            language or lang, or detected.
        options: those of `Pipeline.run`.

    Returns:
        The measures as JSON data, which also stand in the run's `evaluation.json` and as figures in
        its `report.json`, and the run.
    """
    step = scoring_step(step)
    models = None if judge is None else dict.fromkeys(step.reads_models(), judge)
    result = Pipeline([step], models=models).run(labelled, **options)
    return measured_scores(result, step, label=label, at_least=at_least, by=by), result


def scoring_step(step: Step | None = None) -> Step:
    """Return the step to measure, by default `rubric`.

    Raises:
        UsageError: the step gives no scores.
    """
    step = Rubric(model="judge", at_least=None) if step is None else step
    if not isinstance(step, Filter | Whole):
        raise UsageError(
            f"'{step.name}' gives rows no score; measure a step that does, as rubric, or a judge "
            "of pairs with `curate evaluate pairs`"
        )
    return step


def measured_scores(
    result: Result,
    step: Step,
    *,
    label: str | None = None,
    at_least: float | None = None,
    by: str | None = None,
    correct: Path | None = None,
) -> dict[str, Any]:
    """Return the measures of the scores that `step` gave in a run, and write them into its folder.

    Dropped rows count: a limit says nothing of the scores. With a run to `correct`, the share of
    good rows that the step found there stands beside them, corrected.

    Raises:
        UsageError: no row has a label, or none that has one has a score, or nothing can be
            corrected.
    """
    if at_least is None:
        at_least = getattr(step, "at_least", None)
    scores, groups = scores_by_row(result.folder, step.title), RowGroups(by)
    rows = [*result.kept, *result.dropped, *result.used]
    judged = [
        JudgedRow(row.id, value, scores.get(row.id), len(row.response), groups.of(row))
        for row in rows
        if (value := label_of(row, label)) is not None
    ]
    if not any(one.score is not None for one in judged):
        where = f"the column '{label}'" if label else f"label, {' or '.join(_LABELS)}"
        raise UsageError(
            f"{result.folder} has {len(judged):,} rows with a label in {where}, and none of them "
            f"has a score of '{step.title}'; name the labels' column with --label"
        )
    found = score_measures(judged, at_least) | {"failed": result.summary["failed"]}
    if groups.said is not None:
        found["grouped"] = groups.said
    if parts := groups.parts(judged):
        found["groups"] = {k: score_measures(v, at_least) for k, v in parts.items()}
    write_evaluation(result, found)
    if correct is not None:
        found["corrected"] = corrected_share(found, correct, step.title, at_least or 0.0)
        write_evaluation(result, found)
    return found


def label_of(row: Row, column: str | None, but: Sequence[str] = ()) -> float | None:
    """Return a row's label as a number; true is 1, false 0.

    Columns of `but` are none, unless one is the `column` that was named.
    """
    if column is None and row.kind == "unpaired":
        flag: bool | None = row.fields["label"]
        return None if flag is None else float(flag)
    columns = json.loads(row.extra or "{}")
    names = (column,) if column else [name for name in _LABELS if name not in but]
    return next((v for name in names if (v := number_at(columns, name)) is not None), None)


def score_measures(
    judged: Sequence[JudgedRow], at_least: float | None = None, *, whose: str = "this judge"
) -> dict[str, Any]:
    """Return the measures of scores against labels, as JSON data.

    Labels of two values are good and bad: then accuracy, kappa, sensitivity and specificity of the
    limit `at_least` are told as well. Each stands beside what the answer's length alone would give.
    """
    scored = [one for one in judged if one.score is not None]
    labels = [one.label for one in scored]
    scores = [one.score for one in scored if one.score is not None]
    lengths = [one.length for one in scored]
    found: dict[str, Any] = {
        "rows": len(judged),
        "without_score": len(judged) - len(scored),
        "spearman": spearman(scores, labels),
        "spearman_longest": spearman(lengths, labels),
        "spearman_score_length": spearman(scores, lengths),
    }
    if len(scored) <= MOST_FOR_KENDALL:
        found["kendall"] = kendall(scores, labels)
    values = sorted(set(labels))
    if len(values) == 2:
        good = [one == values[1] for one in labels]
        found |= {"auc": auc(scores, good), "auc_longest": auc(lengths, good)}
        if at_least is not None:
            said = [one >= at_least for one in scores]
            calibration = Calibration.of(good, said)
            hits = sum(a == b for a, b in zip(good, said, strict=True))
            found |= {
                "at_least": at_least,
                "accuracy": share(hits, len(good)),
                "accuracy_commonest": share(max(sum(good), len(good) - sum(good)), len(good)),
                "kappa": cohen_kappa(good, said),
                "sensitivity": calibration.sensitivity,
                "specificity": calibration.specificity,
                "calibration": {"counts": calibration._asdict()},
            }
    found |= spread(scores, whose)
    return {name: value for name, value in found.items() if value is not None}


def spread(scores: Sequence[float], whose: str) -> dict[str, Any]:
    """Return how scores are spread: mean, ties, a histogram, and a warning where they collapse.

    `ties` is the share of pairs of rows that have the same score.
    """
    if not scores:
        return {}
    counts: dict[float, int] = {}
    for one in scores:
        counts[one] = counts.get(one, 0) + 1
    pairs = len(scores) * (len(scores) - 1)
    found: dict[str, Any] = {
        "mean": math.fsum(scores) / len(scores),
        "ties": sum(n * (n - 1) for n in counts.values()) / pairs if pairs else 0.0,
        "histogram": histogram(scores),
    }
    collapse = collapse_of(scores)
    return found | ({} if collapse is None else {"warning": collapse.warning(whose)})


def corrected_share(
    found: Mapping[str, Any], run: Path, step: str, at_least: float
) -> dict[str, Any]:
    """Return the share of rows that `step` calls good in another run, corrected by a calibration.

    Args:
        found: measures with a `calibration`, as `score_measures` gives for labels of two values.
        run: the run whose share is to be corrected; the same judge scored it.
        step: the label of the judge's step there.
        at_least: from which score on a row is called good.

    Raises:
        UsageError: there is no calibration, the run has no scores, or the judge is no better than
            chance.
    """
    counts = found.get("calibration", {}).get("counts")
    if counts is None:
        raise UsageError(
            "a share is corrected by what the judge says of good and of bad rows: give labels of "
            "two values, and the score from which on a row is called good (--at-least)"
        )
    scores = ledger_scores(run, step)
    if not len(scores):
        raise UsageError(f"{run} has no scores of a step labelled '{step}'")
    try:
        share_ = Calibration(**counts).corrected(int((scores >= at_least).sum()), len(scores))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return {"run": str(run), "rows": len(scores), **share_._asdict()}
