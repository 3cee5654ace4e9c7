"""PandaLM: two answers to one task, and up to three annotators who chose between them.

Wang et al. 2023. An annotator says 1 or 2 for the better answer and 0 for a tie; an answer's score
is its share of the votes, a tie counting half for each, so that ties stay equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.alpaca import joined, parted
from curate.read.shapes.record_fields import (
    extra_columns,
    extra_of,
    judged,
    kind_of,
    only_turn,
    text_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row

_ANSWERS = ("response1", "response2")
_VOTES = ("annotator1", "annotator2", "annotator3")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and two numbered responses."""
    return "instruction" in data and all(name in data for name in _ANSWERS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return both answers, each scored by its votes."""
    content, marks = joined(data, "input")
    texts = [text_of(data, name) for name in _ANSWERS]
    scores, models = _scores(data), _models(data)
    candidates = tuple(
        Candidate((Message("assistant", text),), score, model)
        for text, score, model in zip(texts, scores, models, strict=True)
    )
    fields = {"prompt": (Message("user", content),), "candidates": candidates}
    return Record("ranked", fields, extra_of(data, ("instruction", "input", *_ANSWERS), **marks))


def _scores(data: Mapping[str, Any]) -> tuple[float | None, float | None]:
    votes = [data[name] for name in _VOTES if data.get(name) is not None]
    wrong = next((vote for vote in votes if vote not in (0, 1, 2)), None)
    if wrong is not None:
        raise ValueError(f"an annotator must say 0, 1 or 2, found {kind_of(wrong)}")
    if not votes:
        return None, None
    first = sum(1.0 if vote == 1 else 0.5 if vote == 0 else 0.0 for vote in votes) / len(votes)
    return first, 1.0 - first


def _models(data: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return both models' names where the comparison's key holds exactly two."""
    key = data.get("cmp_key")
    names = key.split("_") if isinstance(key, str) else []
    return (names[0], names[1]) if len(names) == 2 else (None, None)


def from_row(row: Row) -> dict[str, Any]:
    """Return a prompt with two plain answers in PandaLM's columns."""
    if len(row.candidates) != len(_ANSWERS):
        raise ValueError(f"this shape holds two answers, and there are {len(row.candidates)}")
    instruction, material = parted(row, only_turn(row.prompt, "user"))
    texts = [only_turn(candidate.messages, "assistant") for candidate in row.candidates]
    known = extra_columns(row)
    if (*_scores(known), *_models(known)) != judged(row):
        raise ValueError("its answers' scores or models are not those of its votes; use 'ranked'")
    task = {"instruction": instruction, "input": material}
    return with_extra(task | dict(zip(_ANSWERS, texts, strict=True)), row)


SHAPES = (
    Shape(
        "pandalm",
        "ranked",
        __doc__ or "",
        (("instruction", *_ANSWERS),),
        detect,
        to_record,
        from_row,
    ),
)
