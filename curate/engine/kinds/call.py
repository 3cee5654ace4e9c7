"""Call a step's method for many rows, and keep each row's failure to itself.

A method that yields requests returns a generator; those go to the driver together, which answers
what they ask. Everything else is called here and now.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from curate.engine.partition import describe_error
from curate.errors import RecipeError, StoppedShort
from curate.requests.session import RowTask
from curate.row import Row
from curate.step import Step

if TYPE_CHECKING:
    from curate.requests.driver import Driver


@dataclass
class Results:
    """What one method of a step gave for many rows: values, errors, and the requests it made."""

    values: list[Any]
    errors: dict[int, str] = field(default_factory=dict)
    asked: dict[int, tuple[str, ...]] = field(default_factory=dict)


def call_each(
    step: Step,
    work: Callable[[Any], Any],
    items: Sequence[Any],
    salts: Callable[[int], str],
    driver: Driver | None,
    unusable: Callable[[Any], Sequence[str]] | None = None,
) -> Results:
    """Call `work` on each item; generators go to the driver, which answers what they yield.

    `unusable` returns, for a value, the keys of the replies that were of no use in making it.
    """
    results = Results([None] * len(items))
    jobs: dict[int, RowTask] = {}
    shares = bool(getattr(step, "shares_replies", False))
    for index, item in enumerate(items):
        try:
            value = work(item)
        except StoppedShort:
            # What would come out depends on the machine: no row's verdict.
            raise
        except Exception as error:  # one row's failure, whatever it is
            results.errors[index] = describe_error(error)
            continue
        if isinstance(value, GeneratorType):
            # Closed at once: the driver starts each row when its turn comes.
            value.close()
            start = functools.partial(work, item)
            jobs[index] = RowTask(start, salts(index), shares, unusable, step.title)
        else:
            results.values[index] = value
    if jobs and driver is None:
        # Nothing says that such a step asks before its first row is seen.
        raise RecipeError(
            "returned a generator, but does not say that it asks a model: write `yield` in the "
            "method itself if it asks, or return a list",
            step=step.title,
        )
    answered = driver.run(list(jobs.values())) if driver is not None and jobs else ()
    for index, outcome in zip(jobs, answered, strict=True):
        results.asked[index] = outcome.keys
        if outcome.error is not None:
            results.errors[index] = describe_error(outcome.error)
        else:
            results.values[index] = outcome.value
    return results


def row_salts(rows: Sequence[Row], step: Step) -> Callable[[int], str]:
    """Return the salt of each row's requests: its id, the step's label and the run's seed."""
    return lambda index: f"{rows[index].id}:{step.title}:{rows[index].run_seed}"


def evidence(
    detail: Mapping[str, Any] | None, asked: Sequence[str] | None
) -> Mapping[str, Any] | None:
    """Return a line's detail, with the keys of the requests that it rests on."""
    return {**(detail or {}), "asked": list(asked)} if asked else detail
