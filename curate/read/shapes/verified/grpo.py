"""TRL's prompts for GRPO and RLOO: `prompt`, and for the reward function gold and checker.

TRL hands every column beside the prompt to its reward functions; `curate train grpo` and a reward
function of one's own find there `ground_truth` and `verifier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, listed, mark, sides_from, sides_of, turns_of
from curate.read.shapes.shape import Shape
from curate.read.shapes.verified.gold import GOLD, VERIFIER, verified_by
from curate.row import Record, Row

_ASKED = {"prompt": "user"}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt, a gold answer and the name of its checker."""
    prompt = isinstance(listed(data.get("prompt")), str | list)
    return prompt and data.get(GOLD) is not None and isinstance(data.get(VERIFIER), str)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a prompt; its gold answer and checker are columns beside it."""
    sides, marks = sides_of({**data, "prompt": listed(data.get("prompt"))}, _ASKED)
    if marks:
        marks["prompt_as"] = "text"
    return Record("prompt", sides, extra_of(data, tuple(_ASKED), **marks))


def from_row(row: Row) -> dict[str, Any]:
    """Return a prompt as messages with its gold answer and checker; what else it has goes along.

    TRL applies no chat template to a text. So a prompt is one only where this shape read one: rows
    that came as texts from elsewhere, and have got their gold answer here, are to be asked.
    """
    found = verified_by(row)
    if "prompt" in found.rest:
        raise ValueError("its extra column 'prompt' would be lost: the shape has one as well")
    own = mark(row, "prompt_as") == "text"
    sides = sides_from(row, _ASKED) if own else {"prompt": turns_of(row.prompt)}
    return {**sides, GOLD: found.gold, VERIFIER: found.verifier} | found.rest


SHAPES = (
    Shape(
        "grpo",
        "prompt",
        __doc__ or "",
        (("prompt", GOLD, VERIFIER),),
        detect,
        to_record,
        from_row,
    ),
)
