"""A finished run as pages and pictures read it: its report, its recipe, and its steps' scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import CurateError, UsageError
from curate.page import facts
from curate.page.what_if import WhatIf, what_if
from curate.read.finished_runs import description_of, note_of
from curate.recipe.recipe import Recipe
from curate.recipe.step_file import check_unchanged


class OpenedRun(NamedTuple):
    """The folder of a run, its `report.json`, its `run.yaml`, and its steps.

    There are no steps where they cannot be opened here; `unknown` says why.
    """

    folder: Path
    summary: Mapping[str, Any]
    recipe: Mapping[str, Any]
    steps: Sequence[Any]
    unknown: str


class StepScores(NamedTuple):
    """The scores of a step, and what other values of its rules would let through."""

    label: str
    found: facts.LedgerScores
    what_ifs: tuple[WhatIf, ...]

    def chart(self) -> facts.ScoreChart | None:
        """Return their histogram, `None` where there is nothing to see."""
        return facts.score_chart(self.label, self.found, [one.value for one in self.what_ifs])


def open_run(run: Path) -> OpenedRun:
    """Open a run.

    Raises:
        UsageError: it has not finished.
    """
    import yaml

    if not (run / "report.json").is_file():
        raise UsageError(f"{run} holds no finished run (no report.json); run its recipe first")
    summary, recipe = note_of(run / "report.json"), description_of(run)
    try:
        check_unchanged(recipe)
        steps = Recipe.from_yaml(yaml.safe_dump(recipe["recipe"])).resolved().steps
    except CurateError as error:
        # The page of somebody else's run needs none of its operators.
        return OpenedRun(run, summary, recipe, (), str(error))
    return OpenedRun(run, summary, recipe, steps, "")


def step_scores(run: OpenedRun, at: int) -> StepScores | None:
    """Return the scores of the step with number `at`; `None` of one that only draws rows."""
    if run.summary["steps"][at]["name"] == "sample":
        return None
    label = run.recipe["labels"][at]
    found = facts.scored(run.folder, label)
    own = what_if(run.folder, run.steps, at, found, run.summary) if run.steps else ()
    return StepScores(label, found, tuple(own))
