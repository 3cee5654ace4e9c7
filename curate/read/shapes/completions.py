"""TRL's prompts, completions and labels: texts, or lists of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    extra_of,
    mark,
    sides_from,
    sides_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

_ASKED = {"prompt": "user"}
_ROLES = {**_ASKED, "completion": "assistant"}
# Columns that make more of a record than a prompt.
_OTHERS = ("completion", "chosen", "rejected", "candidates", "response", "responses", "messages")


# What labels of KTO are called where they have names; others may be classes of anything.
NAMES: Mapping[str, bool] = {"true": True, "desirable": True, "chosen": True} | {
    "false": False,
    "undesirable": False,
    "rejected": False,
}


def truth_of(label: Any) -> bool | None:
    """Return whether a label says that a completion is wanted, or `None` where it says nothing.

    1 and 0 are taken for true and false, as `datasets` and tables write them.
    """
    if isinstance(label, str):
        return NAMES.get(label.strip().lower())
    return bool(label) if isinstance(label, int) and label in (0, 1) else None


def is_label(value: Any) -> bool:
    """Tell whether a value says if a completion is wanted."""
    return truth_of(value) is not None


def _is_prompt(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("prompt"), str | list) and not any(n in data for n in _OTHERS)


def _prompt(data: Mapping[str, Any]) -> Record:
    sides, marks = sides_of(data, _ASKED)
    return Record("prompt", sides, extra_of(data, tuple(_ASKED), **marks))


def _from_prompt(row: Row) -> dict[str, Any]:
    return with_extra(sides_from(row, _ASKED), row)


def _is_completion(data: Mapping[str, Any]) -> bool:
    return "prompt" in data and "completion" in data and not is_label(data.get("label"))


def _completion(data: Mapping[str, Any]) -> Record:
    sides, marks = sides_of(data, _ROLES)
    marks = marks or {"completion_turns": len(sides["completion"])}
    messages = sides["prompt"] + sides["completion"]
    return Record("sft", {"messages": messages}, extra_of(data, tuple(_ROLES), **marks))


def _from_completion(row: Row) -> dict[str, Any]:
    """Return texts where they were read so and still are, else messages, the last turn apart."""
    messages, turns = row.messages, mark(row, "completion_turns")
    if not messages or messages[-1].role != "assistant":
        raise ValueError("a completion must be an assistant's turn, and the last one is not")
    if len(messages) < 2:
        raise ValueError("a prompt and a completion need two turns, and there is one")
    # A step may have cut the conversation since: at least one turn stays on each side.
    cut = max(1, len(messages) - (turns if isinstance(turns, int) else 1))
    sides = {"prompt": messages[:cut], "completion": messages[cut:]}
    return with_extra(sides_from(row._replace(fields=sides), _ROLES), row)


def _is_labelled(data: Mapping[str, Any]) -> bool:
    return "prompt" in data and "completion" in data and is_label(data.get("label"))


def _labelled(data: Mapping[str, Any]) -> Record:
    label = data.get("label")
    wanted = truth_of(label)
    if wanted is None:
        raise ValueError(
            f"column 'label' must be true or false (or 1 and 0, or one of {', '.join(NAMES)}), "
            f"found {label!r:.40}"
        )
    sides, marks = sides_of(data, _ROLES)
    if not isinstance(label, bool):
        marks = {**marks, "label_as": label if isinstance(label, str) else "number"}
    extra = extra_of(data, (*_ROLES, "label"), **marks)
    return Record("unpaired", {**sides, "label": wanted}, extra)


def _from_labelled(row: Row) -> dict[str, Any]:
    """Return prompt, completion and label; both sides as texts, or both as messages."""
    label, was = row.fields["label"], mark(row, "label_as")
    if was == "number" and label is not None:
        label = int(label)
    elif isinstance(was, str) and truth_of(was) is label:
        label = was
    return with_extra({**sides_from(row, _ROLES), "label": label}, row)


SHAPES = (
    Shape(
        "prompt",
        "prompt",
        "A prompt alone, as a text or as messages (TRL's prompt-only).",
        (("prompt",),),
        _is_prompt,
        _prompt,
        _from_prompt,
    ),
    Shape(
        "prompt_completion",
        "sft",
        "Prompt and completion, as texts or as messages (TRL's prompt-completion).",
        (tuple(_ROLES),),
        _is_completion,
        _completion,
        _from_completion,
    ),
    Shape(
        "unpaired",
        "unpaired",
        "A prompt, a completion and whether it is wanted: TRL's unpaired preference (KTO). A label "
        "of 1 or 0, or called desirable or undesirable, is taken for true or false.",
        ((*_ROLES, "label"),),
        _is_labelled,
        _labelled,
        _from_labelled,
    ),
)
