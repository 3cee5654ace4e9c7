"""Measure judgements that were made elsewhere and stand in the rows' columns: no model is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from curate.errors import UsageError
from curate.evaluate.judge import JudgedRow, label_of, score_measures, spread
from curate.evaluate.judgement_columns import numbers_below, verdict_at
from curate.evaluate.pair_judges import View
from curate.evaluate.pair_measures import JudgedPair, measures
from curate.evaluate.pairs import grouped, labelled_pair, listed_in_one_place
from curate.evaluate.rank_statistics import cohen_kappa, share, spearman
from curate.evaluate.row_groups import RowGroups
from curate.row import Row


def recorded_pairs(
    rows: Iterable[Row], given: str, swapped: str | None = None, *, by: str | None = None
) -> dict[str, Any]:
    """Return the measures of verdicts that were recorded, in one order of the answers or in both.

    Args:
        rows: preferences, or `ranked` rows with two candidates.
        given: the column (a path, as `results.0.winner`) of the verdicts in the order in which the
            answers stand. A verdict is 1, A or first; 2, B or second; 0, C or tie, and names the
            answer as it stands in the row, in whatever order it was shown.
        swapped: that of the verdicts with the answers swapped.
        by: a column whose values are measured apart; by default the language (see `row_groups`).

    Raises:
        UsageError: a verdict cannot be read, or no labelled row has one.
    """
    pairs: list[JudgedPair] = []
    groups = RowGroups(by)
    judged: list[Row] = []
    for row in rows:
        columns = json.loads(row.extra or "{}")
        try:
            first = verdict_at(columns, given)
            second = None if swapped is None else verdict_at(columns, swapped)
            pair = None
            if not first is second is None:
                pair = labelled_pair(row, View(row.id, 0, 1, first, second), groups.of(row))
        except ValueError as error:
            raise UsageError(f"row {row.id}: {error}") from error
        if pair is not None:
            pairs.append(pair)
            judged.append(row)
    if not pairs:
        raise UsageError(f"no labelled row has a verdict in the column '{given}'")
    found = measures(pairs) | grouped(pairs, groups)
    preferences = {row.kind for row in judged} == {"preference"} and len(pairs) > 1
    if swapped is None and (preferences or listed_in_one_place(judged)):
        found["warning"] = (
            "the better answer stands at the same place in all rows, and verdicts of one order are "
            "given: if the judge was shown the answers as they stand, one that always names a "
            "place looks perfect; give the verdicts of swapped answers, too"
        )
    return found


def recorded_agreement(rows: Iterable[Row], columns: Sequence[str]) -> dict[str, Any]:
    """Return how far annotators agree who each have a column of verdicts, two by two.

    Cohen's kappa counts ties as a verdict of their own; rows that one of the two left out do not
    count.
    """
    said: list[list[float | None]] = []
    for row in rows:
        given = json.loads(row.extra or "{}")
        try:
            said.append([verdict_at(given, name) for name in columns])
        except ValueError as error:
            raise UsageError(f"row {row.id}: {error}") from error
    found = {}
    for i, j in combinations(range(len(columns)), 2):
        both = [(one[i], one[j]) for one in said if None not in (one[i], one[j])]
        if not both:
            raise UsageError(f"no row has verdicts in both '{columns[i]}' and '{columns[j]}'")
        found[f"{columns[i]}, {columns[j]}"] = {
            "rows": len(both),
            "agreement": share(sum(a == b for a, b in both), len(both)),
            "kappa": cohen_kappa(*map(list, zip(*both, strict=True))),
        }
    return {"annotators": found}


def recorded_scores(
    rows: Iterable[Row],
    columns: Sequence[str],
    label: str | None = None,
    at_least: float | None = None,
) -> dict[str, Any]:
    """Return the measures of scores that were recorded, and their rank correlations two by two.

    Args:
        rows: any rows; each column of scores is a path (`scores.QA.Clarity`), or one above several
            (`scores`), of which all numbers below it are taken.
        columns: those paths.
        label: the column with people's labels, where there is one; by default the label of
            `unpaired` rows, or a column called label, score or rating that is none of `columns`.
        at_least: from which score on a row is called good, where labels are good and bad.

    Raises:
        UsageError: no row has a number in one of the columns, or none that has one has a `label`.
    """
    found: dict[str, list[tuple[Row, float | None, float]]] = {}
    places: dict[str, dict[str, float]] = {}
    for row in rows:
        given, known = json.loads(row.extra or "{}"), label_of(row, label, but=columns)
        for column in columns:
            for path, value in numbers_below(given, column):
                found.setdefault(path, []).append((row, known, value))
                places.setdefault(path, {})[row.id] = value
    missing = [c for c in columns if not any(p == c or p.startswith(f"{c}.") for p in found)]
    if missing:
        raise UsageError(f"no row has a number in the column {', '.join(map(repr, missing))}")
    every: dict[str, Any] = {}
    labelled = False
    for path, scored in found.items():
        judged = [
            JudgedRow(row.id, known, value, len(row.response))
            for row, known, value in scored
            if known is not None
        ]
        labelled = labelled or bool(judged)
        if judged:
            every[path] = score_measures(judged, at_least, whose=f"'{path}'")
        else:
            every[path] = {"rows": len(scored), **spread([v for *_, v in scored], f"'{path}'")}
    if label is not None and not labelled:
        raise UsageError(
            f"no row that has a score has a label in the column '{label}'; name the labels' column "
            "with --label"
        )
    correlations = {}
    for one, other in combinations(places, 2):
        both = [k for k in places[one] if k in places[other]]
        sides = ([places[name][k] for k in both] for name in (one, other))
        correlations[f"{one}, {other}"] = spearman(*sides)
    return {"scores": every, "correlations": correlations}
