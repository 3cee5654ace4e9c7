"""Cut a recipe into segments at every step that needs more than one row at a time.

A segment is rows to rows, part by part, in any order of arrival. What follows it (its `cut`) is a
`Whole`, `Gather` or `Grow`, which sees all parts before the next segment starts.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from curate.read import Inputs
from curate.read.shapes import shape
from curate.step import Filter, Gather, Generate, Grow, Step, Whole
from curate.steps.generate.expand import Expand

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe

_TREES = "oasst"


class Segment(NamedTuple):
    """Steps that see one row each, and the step after them, which cuts the recipe."""

    steps: tuple[Filter | Generate, ...]
    cut: Whole | Gather | Grow | None


def with_expand(recipe: Recipe, opened: Inputs) -> tuple[Recipe, set[str]]:
    """Return the recipe with `expand` first, where trees are read and it names no such step.

    The kinds returned with it are those of the rows that reach the first step which the user wrote.
    """
    trees = any(file.shape == _TREES for file in opened.files)
    if not trees or any(isinstance(step, Expand) for step in recipe.steps):
        return recipe, opened.kinds()
    others = {shape(file.shape).kind for file in opened.files if file.shape != _TREES}
    made = Expand().kinds_made(frozenset(["prompt"]))
    return dataclasses.replace(recipe, steps=(Expand(), *recipe.steps)), others | made


def cut_at_wholes(steps: Sequence[Step]) -> list[Segment]:
    """Return the segments of `steps`; the last one has no cut."""
    segments: list[Segment] = []
    current: list[Filter | Generate] = []
    for step in steps:
        if isinstance(step, Filter | Generate):
            current.append(step)
        elif isinstance(step, Whole | Gather | Grow):
            segments.append(Segment(tuple(current), step))
            current = []
        else:
            raise TypeError(f"{type(step).__name__} is of none of the five kinds of step")
    return [*segments, Segment(tuple(current), None)]


def asks(step: Step) -> bool:
    """Return whether `step` may yield requests, so that its rows need the driver."""
    names = ((Filter, "score"), (Generate, "make"), (Whole, "sketch"), (Gather, "make"))
    method = next((name for kind, name in names if isinstance(step, kind)), "propose")
    work = getattr(step, "function", None) or getattr(step, method)
    return inspect.isgeneratorfunction(work) or bool(step.reads_models())


def is_columnar(step: Step) -> bool:
    """Return whether `step` has a vectorised form for large runs."""
    for kind, name in ((Filter, "score_many"), (Generate, "make_many"), (Whole, "sketch_many")):
        if isinstance(step, kind):
            return getattr(type(step), name) is not getattr(kind, name)
    return False
