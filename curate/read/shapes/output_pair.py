"""Two outputs of two models and a verdict, as AlpacaEval and LLMBar write them.

AlpacaEval's `preference` runs from 1 (the first output is better) to 2; LLMBar's `label` is 1 or 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    extra_columns,
    extra_of,
    judged,
    mark,
    number_of,
    only_turn,
    text_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row

_ANSWERS = ("output_1", "output_2")
_TASKS = ("instruction", "input")
_VERDICTS = ("preference", "label")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a task and two numbered outputs."""
    return all(name in data for name in _ANSWERS) and any(name in data for name in _TASKS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return both outputs; the verdict's score is shared between them."""
    task = next((name for name in _TASKS if name in data), _TASKS[0])
    answers = zip(_ANSWERS, _scores(data), _models(data), strict=True)
    candidates = tuple(
        Candidate((Message("assistant", text_of(data, name)),), score, model)
        for name, score, model in answers
    )
    fields = {"prompt": (Message("user", text_of(data, task)),), "candidates": candidates}
    marks = {} if task == _TASKS[0] else {"read_as": task}
    return Record("ranked", fields, extra_of(data, (task, *_ANSWERS), **marks))


def _scores(data: Mapping[str, Any]) -> tuple[float | None, float | None]:
    verdict = next((v for name in _VERDICTS if (v := number_of(data, name)) is not None), None)
    if verdict is None or not 1 <= verdict <= 2:
        return None, None
    return 2 - verdict, verdict - 1


def _models(data: Mapping[str, Any]) -> tuple[str | None, ...]:
    named = [data.get(name.replace("output", "generator")) for name in _ANSWERS]
    return tuple(model if isinstance(model, str) else None for model in named)


def from_row(row: Row) -> dict[str, Any]:
    """Return a prompt with two plain answers as a task and two outputs."""
    if len(row.candidates) != len(_ANSWERS):
        raise ValueError(f"this shape holds two answers, and there are {len(row.candidates)}")
    marked = mark(row, "read_as")
    task = marked if marked in _TASKS else _TASKS[0]
    texts = [only_turn(candidate.messages, "assistant") for candidate in row.candidates]
    known = extra_columns(row)
    if (*_scores(known), *_models(known)) != judged(row):
        raise ValueError("its answers' scores or models are not those of its verdict; use 'ranked'")
    data = {task: only_turn(row.prompt, "user")} | dict(zip(_ANSWERS, texts, strict=True))
    return with_extra(data, row)


SHAPES = (
    Shape(
        "output_pair",
        "ranked",
        __doc__ or "",
        tuple((task, *_ANSWERS) for task in _TASKS),
        detect,
        to_record,
        from_row,
    ),
)
