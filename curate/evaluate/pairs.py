"""Measure a judge of pairs: run it over labelled rows as a pipeline, and compare the two."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.errors import UsageError
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.pair_measures import JudgedPair, by_group, measures
from curate.pipeline import Pipeline, Result
from curate.row import Row
from curate.runs.ledger_scores import ledger_details
from curate.step import Step
from curate.steps.pairs._comparison import answer_text
from curate.steps.pairs.prefer import Prefer
from curate.steps.pairs.rank import Rank

# Columns that say which language a row is in, where none is named.
LANGUAGE_COLUMNS = ("language", "lang")


def pair_judges(step: Step | None = None) -> tuple[Step, ...]:
    """Return the steps that judge labelled rows, made of the one that is to be measured.

    Preferences are judged by `prefer`, candidates by a tournament of `rank`. Labels stay: nothing
    changes sides, and the rows as they came are kept beside those made.

    Raises:
        UsageError: the step judges no pairs.
    """
    if step is None:
        step = Prefer(model="judge", at_least=None, drop_ties=True)
    if not isinstance(step, Prefer | Rank) or getattr(step, "method", "") == "listwise":
        raise UsageError(
            f"'{step.name}' does not compare pairs; measure prefer or rank (method: tournament), "
            "and any other judge with `curate evaluate judge`"
        )
    shared = (
        "model", "models", "prompt", "principles", "options", "orders", "reason", "complete",
        "temperature", "max_tokens",
    )  # fmt: skip
    own = {name: getattr(step, name) for name in shared}
    own["prompt"] = own["prompt"] or "compare_answers"
    return (
        Prefer(
            **own,
            sides="given",
            at_least=None,
            drop_ties=False,
            keep_parent=True,
            only=("preference",),
        ),
        Rank(**own, keep_parent=True, only=("ranked",)),
    )


def evaluate_pairs(
    labelled: Any,
    judge: Any = None,
    *,
    step: Step | None = None,
    by: str | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Result]:
    """Judge labelled pairs with a model, and measure what it said of them.

    Args:
        labelled: preferences, or `ranked` rows whose candidates have scores: a path or rows.
        judge: the model, as a recipe writes it.
        step: `prefer` or `rank` with the fields to measure; by default both orders of `prefer`.
        by: a column whose values are measured apart; by default one called language or lang.
        options: those of `Pipeline.run`.

    Returns:
        The measures as JSON data (see `pair_measures.measures`), which also stand in the run's
        `evaluation.json` and as figures in its `report.json`, and the run.
    """
    steps = pair_judges(step)
    names = {name for one in steps for name in one.reads_models()}
    models = None if judge is None else dict.fromkeys(names, judge)
    result = Pipeline(list(steps), models=models).run(labelled, **options)
    return measured_pairs(result, by=by), result


def measured_pairs(result: Result, *, by: str | None = None) -> dict[str, Any]:
    """Return the measures of a run that judged pairs, and write them into its folder.

    Raises:
        UsageError: no row that was judged has a label.
    """
    pairs = list(judged_pairs(result, by))
    summary = result.summary
    if not pairs:
        raise UsageError(
            f"{result.folder} judged no labelled pair ({summary['in']:,} rows in, "
            f"{summary['failed']:,} failed): labels are preferences, or candidates with scores"
        )
    found = measures(pairs) | {"failed": summary["failed"]}
    if groups := by_group(pairs):
        found["groups"] = groups
    write_evaluation(result, found)
    return found


def judged_pairs(result: Result, by: str | None = None) -> Iterator[JudgedPair]:
    """Yield every labelled pair of a run's rows, with what its judges said of it."""
    rows = {row.id: row for row in result.kept}
    for label in result.recipe["labels"]:
        for parent, detail in ledger_details(result.folder, label):
            row = rows.get(parent)
            if row is None:
                continue
            told = detail.get("pairs") or ([detail] if "opinions" in detail else [])
            for one in told:
                pair = labelled_pair(row, *one.get("pair", (0, 1)), by=by)
                if pair is not None:
                    given, swapped, mass = _views(one["opinions"])
                    yield pair._replace(given=given, swapped=swapped, mass=mass)


def labelled_pair(row: Row, i: int, j: int, *, by: str | None = None) -> JudgedPair | None:
    """Return the pair of two answers of a row with its label, or `None` where it has none.

    A preference is labelled by its sides, candidates by their scores.
    """
    if row.kind == "preference":
        label, answers = 1.0, (row.chosen, row.rejected)
        models: tuple[str | None, str | None] = (None, None)
    else:
        one, other = row.candidates[i], row.candidates[j]
        if one.score is None or other.score is None:
            return None
        label = 0.5 if one.score == other.score else float(one.score > other.score)
        answers, models = (one.messages, other.messages), (one.model, other.model)
    lengths = tuple(len(answer_text(turns)) for turns in answers)
    columns = json.loads(row.extra or "{}")
    names = (by,) if by else LANGUAGE_COLUMNS
    group = next((str(columns[name]) for name in names if columns.get(name) is not None), None)
    return JudgedPair(row.id, label, None, None, (lengths[0], lengths[1]), models, group)


def _views(
    opinions: Sequence[Mapping[str, Any]],
) -> tuple[float | None, float | None, float | None]:
    """Return the mean view of each order, and the mean mass of the options."""
    given, swapped = (
        [one["p_first"] for one in opinions if one["swapped"] == order] for order in (False, True)
    )
    masses = [one["mass"] for one in opinions if "mass" in one]
    found = [sum(own) / len(own) if own else None for own in (given, swapped, masses)]
    return found[0], found[1], found[2]
