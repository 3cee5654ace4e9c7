"""Names that a recipe may leave open: the labels of its steps, and the encoder that they ask.

A label is the one name by which a step is found in ledgers, reports, `by=` and settings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.errors import RecipeError
from curate.step import Step

# The names of the reader's ledger, and of the step that runs unasked where conversation trees are
# read; no other step may be called so.
RESERVED = ("read", "expand")
_LABEL = re.compile(r"[^\W\d][\w-]*")
# What a recipe without encoders gets, under the name that its steps then have.
DEFAULT_ENCODER = {"minilm": "hf:sentence-transformers/all-MiniLM-L6-v2"}
ErrorAt = Callable[..., RecipeError]


def labelled(steps: Sequence[Step], error: ErrorAt) -> tuple[Step, ...]:
    """Return `steps` with a label on each that would otherwise share its title with another.

    The first one without a label keeps its name, the next is `name_2`; given labels go first.
    """
    taken = _given(steps, error)
    out = []
    for step in steps:
        if step.label is None:
            title, number = step.title, 1
            reserved = title in RESERVED and title != step.name
            while title.casefold() in taken or reserved:
                number, reserved = number + 1, False
                title = f"{step.title}_{number}"
            taken.add(title.casefold())
            step = step if title == step.title else dataclasses.replace(step, label=title)
        out.append(step)
    return tuple(out)


def with_encoders(
    steps: Sequence[Step], encoders: Mapping[str, Any] | None, error: ErrorAt
) -> tuple[tuple[Step, ...], Mapping[str, Any] | None]:
    """Return `steps` with an encoder for each that needs one and names none, and the encoders.

    It is the recipe's only one, or the default where the recipe has none.
    """
    bare = [i for i, s in enumerate(steps) if s.embeds() and getattr(s, "encoder", "") is None]
    if not bare:
        return tuple(steps), encoders
    encoders = encoders or DEFAULT_ENCODER
    if len(encoders) > 1:
        step = steps[bare[0]]
        raise error(
            ("steps", bare[0], step.name),
            f"encoder is not set, and the recipe has several: {', '.join(encoders)}; name one",
            step=step.title,
        )
    name = next(iter(encoders))
    given: dict[str, Any] = {"encoder": name}
    filled = (dataclasses.replace(s, **given) if i in bare else s for i, s in enumerate(steps))
    return tuple(filled), encoders


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
