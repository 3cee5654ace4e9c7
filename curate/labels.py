"""Labels: the one name by which a step is found in ledgers, reports, `by=` and settings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from curate.errors import RecipeError
from curate.step import Step

# The names of the reader's ledger, and of the step that runs unasked where conversation trees are
# read; no other step may be called so.
RESERVED = ("read", "expand")
_LABEL = re.compile(r"[^\W\d][\w-]*")
ErrorAt = Callable[..., RecipeError]


def labelled(steps: Sequence[Step], error: ErrorAt) -> tuple[Step, ...]:
    """Return `steps` with a label on each that would otherwise share its title with another.

    The first one without a label keeps its name, the next is `name_2`; given labels go first.
    """
    taken = _given(steps, error)
    out = []
    for step in steps:
        if step.label is None:
            title = _free(step, taken)
            taken.add(title.casefold())
            step = step if title == step.title else dataclasses.replace(step, label=title)
        out.append(step)
    return tuple(out)


def _given(steps: Sequence[Step], error: ErrorAt) -> set[str]:
    """Return the labels that the user gave, in lower case: they also name folders."""
    taken: set[str] = set()
    for index, step in enumerate(steps):
        label = step.label
        if label is None:
            continue
        path = ("steps", index, step.name, "label")
        if not _LABEL.fullmatch(label):
            raise error(
                path,
                f"the label '{label}' is not allowed: letters, digits, - and _, a letter first",
                step=step.name,
            )
        if label.casefold() in RESERVED and label != step.name:
            raise error(path, f"the label '{label}' is reserved; choose another", step=step.name)
        if label.casefold() in taken:
            raise error(path, f"the label '{label}' is there twice; choose another", step=step.name)
        taken.add(label.casefold())
    return taken


def _free(step: Step, taken: set[str]) -> str:
    name = step.title
    if name.casefold() not in taken and (name not in RESERVED or name == step.name):
        return name
    number = 2
    while f"{name}_{number}".casefold() in taken:
        number += 1
    return f"{name}_{number}"
