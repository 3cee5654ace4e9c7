"""Nectar: a prompt with ranked answers of several models (Zhu et al. 2023).

The prompt is a transcript that breaks off where the assistant answers; an answer's score is minus
its rank, so that more is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes import hh
from curate.read.shapes.mapped import shape_of
from curate.read.shapes.record_fields import mark, text_of, with_mark
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_RANKED = shape_of("nectar", "", {"prompt": "prompt", "candidates": "answers"})


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt and a list of answers, each with its text."""
    answers = data.get("answers")
    return isinstance(answers, list) and all(
        isinstance(answer, Mapping) and "answer" in answer for answer in answers
    )


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the answers as candidates."""
    record, text = _RANKED.to_record(data), text_of(data, "prompt")
    turns = hh.opened_turns(text)
    if turns is None or hh.opened_text(turns) != text:
        return record
    fields = {**record.fields, "prompt": turns}
    return Record("ranked", fields, with_mark(record.extra, "prompt_as", "transcript"))


def from_row(row: Row) -> dict[str, Any]:
    """Return the answers with what `extra` keeps of them."""
    if mark(row, "prompt_as") == "transcript":
        text = hh.opened_text(row.prompt)
        row = row._replace(fields={**row.fields, "prompt": (Message("user", text),)})
    out: dict[str, Any] = _RANKED.from_row(row)
    return out


SHAPES = (
    Shape(
        "nectar",
        "ranked",
        __doc__ or "",
        (("prompt", "answers"),),
        detect,
        to_record,
        from_row,
    ),
)
