"""Measure a judge of pairs: run it over labelled rows as a pipeline, and compare the two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from curate.errors import UsageError
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.judge import spread
from curate.evaluate.pair_judges import (
    View,
    judgements_of,
    list_effects,
    pair_judges,
)
from curate.evaluate.pair_measures import JudgedPair, by_group, measures
from curate.evaluate.rank_statistics import spearman
from curate.evaluate.row_groups import NO_GROUP, RowGroups
from curate.pipeline import Pipeline, Result
from curate.row import Message, Row
from curate.step import Step
from curate.steps.pairs._comparison import answer_text

ONE_PLACE = "all labelled rows list their answers in the order of their scores"


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
        step: the judge to measure, with its fields: one that compares (`prefer`, `rank`) or one
            that scores answers (`rubric`, `scar` ...); by default both orders of `prefer`.
        by: a column whose values are measured apart; by default the language, of a column called
            language or lang, or detected.
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
    result: Result, judges: Sequence[Step], *, by: str | None = None
) -> dict[str, Any]:
    """Return the measures of a run whose steps `judges` judged pairs; write them into its folder.

    Raises:
        UsageError: no row that was judged has a label.
    """
    rows = {row.id: row for row in result.kept if row.kind in ("preference", "ranked")}
    judgements, groups = judgements_of(result, judges, rows), RowGroups(by)
    judged = [rows[row] for row in dict.fromkeys(view.row for view in judgements.views)]
    one_place = listed_in_one_place(judged)
    group_of = {row.id: groups.of(row) for row in judged}
    pairs = [
        pair
        for view in judgements.views
        if (pair := labelled_pair(rows[view.row], view, group_of[view.row], draw=one_place))
    ]
    summary = result.summary
    if not pairs:
        raise UsageError(
            f"{result.folder} judged no labelled pair ({summary['in']:,} rows in, "
            f"{summary['failed']:,} failed): labels are preferences (which rank as a list and "
            "ultrafeedback do not take), or candidates with scores"
        )
    found = measures(pairs) | {"failed": summary["failed"]}
    if one_place:
        found["remark"] = f"{ONE_PLACE}; which of two counts as the first one was drawn"
    if judgements.scores:
        values = list(judgements.scores.values())
        lengths = [length_of(turns_of(rows[row])[place]) for row, place in judgements.scores]
        found["scores"] = {"answers": len(values), **spread(values, "the judge's scores")}
        if (correlation := spearman(values, lengths)) is not None:
            found["scores"]["spearman_length"] = correlation
        if (warning := found["scores"].pop("warning", None)) is not None:
            found["warning"] = warning
    if judgements.lists:
        labels = {row: [one.score for one in rows[row].candidates] for row in judgements.lists}
        found["lists"] = list_effects(judgements.lists, labels)
    found |= grouped(pairs, groups)
    write_evaluation(result, found)
    return found


def grouped(pairs: Sequence[JudgedPair], groups: RowGroups) -> dict[str, Any]:
    """Return the measures of each group, where there are several, and how groups were found."""
    said = {} if groups.said is None else {"grouped": groups.said}
    parts = groups.parts(pairs)
    return said | ({"groups": by_group(parts)} if parts else {})


def turns_of(row: Row) -> list[tuple[Message, ...]]:
    """Return the answers of a pair, the chosen one first, or of a list."""
    if row.kind == "preference":
        return [row.chosen, row.rejected]
    return [one.messages for one in row.candidates]


def length_of(turns: Sequence[Message]) -> int:
    """Return the characters of an answer, as a judge is shown it where it can be shown."""
    try:
        return len(answer_text(turns))
    except ValueError:
        # A step that scores may read what no comparison of texts can show: media, or nothing.
        return sum(len(turn.text) for turn in turns)


def labelled_pair(
    row: Row, view: View, group: str = NO_GROUP, *, draw: bool = False
) -> JudgedPair | None:
    """Return two answers of a row with their label and a judge's view, or `None` without a label.

    A preference is labelled by its sides, and is a tie where its column `tie` is true, as `review`
    exports it; candidates are labelled by their scores. The chosen answer of a
    preference always stands first, and agreement beyond chance is none where one label is all there
    is; so which of its sides counts as the first one is drawn by the row's seed, and with `draw`
    that is done to candidates, too.
    """
    answers = turns_of(row)
    models: tuple[str | None, str | None] = (None, None)
    extra = json.loads(row.extra or "{}") if row.kind == "preference" else {}
    # People found the two sides equal.
    label = 0.5 if extra.get("tie") is True else 1.0
    if row.kind == "ranked":
        one, other = row.candidates[view.i], row.candidates[view.j]
        if one.score is None or other.score is None:
            return None
        label, models = label_of_scores(one.score, other.score), (one.model, other.model)
    lengths = [length_of(answers[place]) for place in (view.i, view.j)]
    longest = label_of_scores(*lengths)
    pair = JudgedPair(
        row.id, label, view.given, view.swapped, longest, models, group, view.mass, view.alone
    )
    place = "" if row.kind == "preference" else f" {view.i} {view.j}"
    drawn = row.kind == "preference" or draw
    if drawn and row.random(f"first of the labelled pair{place}").random() < 0.5:
        return pair.turned()
    return pair


def label_of_scores(one: float, other: float) -> float:
    """Return which of two scores is the higher one: 1 the first, 0 the second, 0.5 neither."""
    return 0.5 if one == other else float(one > other)


def listed_in_one_place(rows: Iterable[Row]) -> bool:
    """Tell whether the better one of two candidates always comes first, or always second.

    Then a judge that always names one place agrees with every label, or with none.
    """
    labels: list[float] = []
    for row in rows:
        scores = [one.score for one in row.candidates] if row.kind == "ranked" else []
        known = [one for one in scores if one is not None]
        labels += [label_of_scores(*two) for two in combinations(known, 2)]
    decided = [one for one in labels if one != 0.5]
    return len(decided) > 1 and len(set(decided)) == 1
