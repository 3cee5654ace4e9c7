"""Segments of a recipe, and one part run through one of them: the unit of work of every engine.

A recipe is cut at every step that needs more than one row at a time. A segment is rows to rows,
part by part, in any order of arrival. What follows it (its `cut`) is a `Whole`, `Gather` or `Grow`,
which sees all parts before the next segment starts.

`run_segment` takes what it needs as arguments and gives tables or paths back, so that it runs in
the main thread, in a pool of threads, or in a spawned process without change.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from curate.engine.kinds.filter import apply_filter
from curate.engine.partition import Partition, describe_error
from curate.engine.state import Held, LedgerSlice, PartitionState, Settings, Workspace, total
from curate.read import Inputs
from curate.read.shapes import shape
from curate.step import Filter, Gather, Generate, Grow, Step, Whole
from curate.steps.generate.expand import Expand

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe
    from curate.requests.driver import Driver


_TREES = ("oasst", "oasst_messages")


class Segment(NamedTuple):
    """Steps that see one row each, and the step after them, which cuts the recipe."""

    steps: tuple[Filter | Generate, ...]
    cut: Whole | Gather | Grow | None


class SegmentRunner(Protocol):
    """Where segments run. `threads` are for reading and writing, `workers` of them."""

    workers: int

    @property
    def threads(self) -> Executor:
        """The threads."""
        ...

    def run(
        self,
        segment: Segment,
        states: Iterable[PartitionState],
        parts: Callable[[], int],
        *,
        spill: bool,
    ) -> Iterator[PartitionState]:
        """Yield each part's state after `segment`, in order.

        `parts` estimates how many there are, the better the more has been read; with `spill`,
        tables go to files so that memory stays flat while later parts are on their way.
        """
        ...

    def close(self) -> None:
        """Stop the workers; what they had not begun is dropped."""
        ...


def with_expand(recipe: Recipe, opened: Inputs) -> tuple[Recipe, set[str]]:
    """Return the recipe with `expand` first, where trees are read and it names no such step.

    The kinds returned with it are those of the rows that reach the first step which the user wrote.
    """
    trees = any(file.shape in _TREES for file in opened.files)
    if not trees or any(isinstance(step, Expand) for step in recipe.steps):
        return recipe, opened.kinds()
    others = {shape(file.shape).kind for file in opened.files if file.shape not in _TREES}
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


def run_segment(
    segment: Segment,
    state: PartitionState,
    settings: Settings,
    *,
    driver: Driver | None = None,
    workspace: Workspace | None = None,
) -> PartitionState:
    """Return the part's state after `segment`; with a workspace, its tables lie in files."""
    part = settings.partition(state.rows)
    if state.decision is not None:
        state.decision.apply(part)
    for step in segment.steps:
        if isinstance(step, Filter):
            apply_filter(part, step, driver)
        else:
            from curate.engine.kinds.generate import apply_generate

            apply_generate(part, step, driver)
    sketches: pa.Table | None = None
    if isinstance(segment.cut, Whole):
        from curate.engine.kinds.sketch import sketch

        sketches = sketch(part, segment.cut, driver)
    elif isinstance(segment.cut, Gather):
        sketches = _keys(part, segment.cut)
    alive = part.split()
    spill: Callable[[pa.Table], Held] = (lambda t: t) if workspace is None else workspace.spill
    return PartitionState(
        number=state.number,
        rows=spill(alive),
        sketches=None if sketches is None else spill(sketches),
        gone=[*state.gone, *(spill(table) for table in part.gone)],
        ledger=[*state.ledger, *LedgerSlice.of(part.ledger)],
        tallies=total([state.tallies, part.tallies]),
    )


def _keys(part: Partition, step: Gather) -> pa.Table:
    """Return the group key of every row that the step sees; a row whose key fails ends here."""
    part.compact()
    keys: list[str] = []
    errors: dict[int, str] = {}
    for index in part.reached(step.only).tolist():
        try:
            key: Any = step.key(part.rows[index])
            if not isinstance(key, str):
                raise TypeError(f"a key must be text, not {type(key).__name__}")
            # Half of a surrogate pair is not text that rows could be grouped by.
            key.encode()
            keys.append(key)
        except Exception as error:  # one row's failure, whatever it is
            errors[index] = describe_error(error)
    part.fail(step.title, errors)
    return pa.table({"key": pa.array(keys, pa.string())})
