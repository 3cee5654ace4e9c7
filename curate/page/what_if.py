"""What another threshold would do: asked of the step's own rule, claimed only where it is certain.

How many rows pass a step under another threshold follows from the ledger, for any filter: its rule
is a function of the score. How many rows the run would keep does not, unless the threshold only
becomes stricter and every later step judges rows one by one: a row that is newly let through has no
later scores, and a later `near`, `sample` or `top` decides anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.page.facts import LedgerScores
from curate.runs.rows import Rows
from curate.step import Filter, Step

if TYPE_CHECKING:
    import numpy as np

MOST_STOPS = 2001


class WhatIf(NamedTuple):
    """The rows that pass a step for each value of one of its rules.

    `kept` holds the rows that the run would keep, `None` where only a run can tell. `rises` says
    that a higher value lets fewer rows through. `next_step` is the label of the step after this
    one, `asking` are the labels of later ones that send requests. `inclusive` says that a score
    equal to the value passes.
    """

    label: str
    field: str
    value: float
    rises: bool
    stops: tuple[float, ...]
    passes: tuple[int, ...]
    kept: tuple[int | None, ...]
    next_step: str | None
    asking: tuple[str, ...]
    inclusive: bool = True

    @property
    def after(self) -> bool:
        """Whether the scores on the threshold lie before it, on a scale that rises."""
        return self.rises != self.inclusive


def what_if(
    run: Path, steps: Sequence[Step], at: int, found: LedgerScores, summary: Mapping[str, Any]
) -> Iterator[WhatIf]:
    """Yield what other values of each numeric rule of the filter `steps[at]` would let through."""
    import numpy as np

    step = steps[at]
    if not isinstance(step, Filter) or not len(found.scores):
        return
    values, counts = np.unique(found.scores, return_counts=True)
    here, later = summary["steps"][at], steps[at + 1 :]
    one_by_one = all(isinstance(other, Filter) for other in later)
    kept_scores: np.ndarray | None = None
    for field in step.rules():
        current = getattr(step, field)
        if isinstance(current, bool) or not isinstance(current, int | float):
            continue
        rule = _rule(step, field, values)
        if rule is None or rule.count(current, counts) != int(found.passed.sum()):
            continue
        unscored = here["kept"] - int(found.passed.sum())
        stops = rule.stops(current)
        if current not in stops:
            continue
        if kept_scores is None:
            kept_scores = _kept_scores(run, step.title) if one_by_one else np.empty(0)
        passes = [unscored + rule.count(stop, counts) for stop in stops]
        stricter = [(stop >= current) if rule.rises else (stop <= current) for stop in stops]
        kept = [
            summary["kept"] - rule.refused(stop, kept_scores) if one_by_one and strict else None
            for stop, strict in zip(stops, stricter, strict=True)
        ]
        yield WhatIf(
            step.title,
            field,
            current,
            rule.rises,
            tuple(stops),
            tuple(passes),
            tuple(kept),
            later[0].title if later else None,
            tuple(other.title for other in later if other.reads_models()),
            rule.inclusive,
        )


def _kept_scores(run: Path, label: str) -> np.ndarray:
    """Return the scores that a step gave the kept rows; those without one are left out."""
    import numpy as np

    from curate.chunk import Chunk

    found = [Chunk(table).scores(label) for table in Rows(run / "kept").tables(["id"])]
    scores = np.concatenate([np.empty(0), *found])
    finite: np.ndarray = scores[~np.isnan(scores)]
    return finite


@dataclasses.dataclass(frozen=True)
class _Rule:
    """A rule that lets scores on one side of its value pass, among those that others let pass."""

    step: Filter
    field: str
    values: np.ndarray
    others: np.ndarray
    rises: bool
    inclusive: bool

    def passing(self, stop: float, scores: np.ndarray) -> np.ndarray:
        """Tell which scores are on the passing side of `stop`."""
        if self.rises:
            return scores >= stop if self.inclusive else scores > stop
        return scores <= stop if self.inclusive else scores < stop

    def count(self, stop: float, counts: np.ndarray) -> int:
        """Return how many scored rows pass at `stop`, given how many have each score."""
        return int(counts[self.others & self.passing(stop, self.values)].sum())

    def refused(self, stop: float, scores: np.ndarray) -> int:
        """Return how many of some rows that pass now would not at `stop`, a stricter one."""
        return int((~self.passing(stop, scores)).sum())

    def stops(self, current: float) -> list[float]:
        """Return the values to choose from: scores, evenly by rank, and the current value."""
        import numpy as np

        whole = isinstance(current, int)
        choice = self.values[self.values == np.floor(self.values)] if whole else self.values
        if len(choice) > MOST_STOPS - 1:
            ranks = np.linspace(0, len(choice) - 1, MOST_STOPS - 1).round().astype(np.int64)
            choice = choice[ranks]
        found = {int(v) if whole else float(v) for v in choice.tolist()} | {current}
        return sorted(stop for stop in found if self.holds_at(stop))

    def holds_at(self, stop: float) -> bool:
        """Tell whether the step takes the value, and its rule is this one around it."""
        import numpy as np

        step = _changed(self.step, self.field, stop)
        try:
            step.check()
        except ValueError:
            return False
        place = int(np.searchsorted(self.values, stop))
        near = np.arange(max(0, place - 1), min(len(self.values), place + 2))
        expected = self.others[near] & self.passing(stop, self.values[near])
        return bool([step.keep(v) is None for v in self.values[near].tolist()] == expected.tolist())


def _rule(step: Filter, field: str, values: np.ndarray) -> _Rule | None:
    """Return the rule that a field stands for, or `None` where it is not a threshold."""
    import numpy as np

    def mask(stop: float) -> np.ndarray:
        changed = _changed(step, field, stop)
        return np.array([changed.keep(value) is None for value in values.tolist()])

    lowest, highest = mask(values[0]), mask(values[-1])
    if lowest.sum() == highest.sum():
        return None
    rises = bool(lowest.sum() > highest.sum())
    others, strict = (lowest, highest) if rises else (highest, lowest)
    inclusive = bool(others[0] if rises else others[-1])
    if not inclusive:
        # The lowest score does not pass its own value: what others let pass shows further out.
        beyond = values[0] - 1 if rises else values[-1] + 1
        others = mask(beyond)
    if (strict & ~others).any():
        return None
    return _Rule(step, field, values, others, rises, inclusive)


def _changed(step: Filter, field: str, value: float) -> Filter:
    """Return the step with another value of the type that the field has now."""
    given: dict[str, Any] = {field: type(getattr(step, field))(value)}
    return dataclasses.replace(step, **given)
