"""UltraFeedback: an instruction and completions, each with its model, scores and critiques.

Cui et al. 2023. A completion's score is its `fine-grained_score` (the mean of its ratings) where
there is one, else its `overall_score`: that one is known to be wrong in some rows (a 1 became 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    extra_columns,
    extra_of,
    kind_of,
    number_of,
    only_turn,
    text_of,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row

_LIST = "completions"
_SCORES = ("fine-grained_score", "overall_score")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and a list of completions."""
    return "instruction" in data and isinstance(data.get(_LIST), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the completions as candidates; everything else about them stays in `extra`."""
    given = data.get(_LIST)
    if not isinstance(given, list) or not given:
        raise ValueError(f"column '{_LIST}' must be a list of answers, found {kind_of(given)}")
    prompt = (Message("user", text_of(data, "instruction")),)
    candidates = []
    for entry in given:
        if not isinstance(entry, Mapping):
            raise ValueError(f"a completion must be an object, found {kind_of(entry)}")
        score = next((s for name in _SCORES if (s := number_of(entry, name)) is not None), None)
        model = entry.get("model")
        answer = (Message("assistant", text_of(entry, "response")),)
        candidates.append(Candidate(answer, score, model if isinstance(model, str) else None))
    fields = {"prompt": prompt, "candidates": tuple(candidates)}
    rest = [{k: v for k, v in entry.items() if k != "response"} for entry in given]
    return Record("ranked", fields, extra_of({**data, _LIST: rest}, ("instruction",)))


def from_row(row: Row) -> dict[str, Any]:
    """Return the answers as completions, each with what `extra` keeps of it."""
    extra = extra_columns(row)
    rest = extra.pop(_LIST, [{"model": c.model, _SCORES[0]: c.score} for c in row.candidates])
    if len(rest) != len(row.candidates):
        raise ValueError(f"{len(rest)} completions were read, and {len(row.candidates)} are left")
    completions = [
        {**known, "response": only_turn(candidate.messages, "assistant")}
        for known, candidate in zip(rest, row.candidates, strict=True)
    ]
    return {"instruction": only_turn(row.prompt, "user"), _LIST: completions} | extra


SHAPES = (
    Shape(
        "ultrafeedback",
        "ranked",
        __doc__ or "",
        (("instruction", _LIST),),
        detect,
        to_record,
        from_row,
    ),
)
