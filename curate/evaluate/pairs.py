"""Measure a judge of pairs: run it over labelled rows as a pipeline, and compare the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from curate.errors import UsageError
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.judgement_columns import group_of
from curate.evaluate.pair_measures import JudgedPair, by_group, measures
from curate.pipeline import Pipeline, Result
from curate.row import Row
from curate.runs.ledger_scores import ledger_details
from curate.step import Step
from curate.steps.pairs._comparison import Comparison, Opinion, Preference, answer_text, mean
from curate.steps.pairs.prefer import Prefer
from curate.steps.pairs.rank import Rank


def pair_judges(step: Step | None = None) -> tuple[Prefer | Rank, ...]:
    """Return the steps that judge labelled rows, made of the one that is to be measured.

    Preferences are judged by `prefer`, candidates by a tournament of `rank`; a step that prefers in
    a way of its own judges both, of candidates two. Labels stay: nothing changes sides, and the
    rows as they came are kept beside those made. The chosen answer stands first in every
    preference, so `orders: given` becomes `drawn` there: it would show the judge the labels.

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
    prefer = replace(
        step if isinstance(step, Prefer) else Prefer(**own),
        orders="drawn" if step.orders == "given" else step.orders,
        sides="given",
        at_least=None,
        drop_ties=False,
        keep_parent=True,
        only=("preference",),
    )
    if type(prefer) is not Prefer:
        return (replace(prefer, only=()),)
    rank = step if isinstance(step, Rank) else Rank(**own)
    return prefer, replace(rank, keep_parent=True, only=("ranked",))


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
    return measured_pairs(result, steps, by=by), result


def measured_pairs(
    result: Result, judges: Sequence[Prefer | Rank], *, by: str | None = None
) -> dict[str, Any]:
    """Return the measures of a run whose steps `judges` judged pairs; write them into its folder.

    Raises:
        UsageError: no row that was judged has a label.
    """
    pairs = list(judged_pairs(result, judges, by))
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


def judged_pairs(
    result: Result, judges: Sequence[Prefer | Rank], by: str | None = None
) -> Iterator[JudgedPair]:
    """Yield every labelled pair of a run's rows, with what its judges said of it."""
    rows = {row.id: row for row in result.kept}
    for judge, label in zip(judges, result.recipe["labels"], strict=True):
        for parent, detail in ledger_details(result.folder, label):
            row = rows.get(parent)
            if row is None:
                continue
            told = detail.get("pairs") or ([detail] if "opinions" in detail else [])
            for one in told:
                opinions = [Opinion(**{"principle": None, **own}) for own in one["opinions"]]
                said = Preference(tuple(opinions))
                said = judge.counted(said) if isinstance(judge, Prefer) else said
                views = said.order(False), said.order(True)
                pair = labelled_pair(row, *one.get("pair", (0, 1)), views=views, by=by)
                if pair is not None:
                    masses = [own.mass for own in opinions if own.mass is not None]
                    yield pair._replace(mass=mean(masses) if masses else None)


def labelled_pair(
    row: Row,
    i: int = 0,
    j: int = 1,
    *,
    views: tuple[float | None, float | None],
    by: str | None = None,
) -> JudgedPair | None:
    """Return the pair of two answers of a row with its label, or `None` where it has none.

    A preference is labelled by its sides, candidates by their scores. `views` are those of a judge
    on the first answer, in the order in which they stand and in the other. The chosen answer of a
    preference always stands first, and agreement beyond chance is none where one label is all there
    is; so which of its sides counts as the first one is drawn by the row's seed.
    """
    models: tuple[str | None, str | None] = (None, None)
    if row.kind == "preference":
        label, answers = 1.0, (row.chosen, row.rejected)
        if row.random("first of the labelled pair").random() < 0.5:
            label, answers = 0.0, (row.rejected, row.chosen)
            given, swapped = (None if one is None else 1 - one for one in views)
            views = swapped, given
    else:
        one, other = row.candidates[i], row.candidates[j]
        if one.score is None or other.score is None:
            return None
        label = 0.5 if one.score == other.score else float(one.score > other.score)
        answers, models = (one.messages, other.messages), (one.model, other.model)
    longest = Comparison("", *map(answer_text, answers)).longer
    return JudgedPair(row.id, label, *views, longest, models, group_of(row, by))
