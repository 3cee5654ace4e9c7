"""RRHF's lists: a `query`, its `responses`, and a score for each (Yuan et al. 2023, 2304.05302).

The lists have no place for models, for what else is known of an answer, or for more than one turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.read.shapes.record_fields import (
    extra_of,
    kind_of,
    number_of,
    only_turn,
    text_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row

_COLUMNS = ("query", "responses", "scores")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a query with lists of responses and scores."""
    return "query" in data and all(isinstance(data.get(name), list) for name in _COLUMNS[1:])


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the responses as candidates with their scores."""
    prompt = (Message("user", text_of(data, "query")),)
    candidates = candidates_in(data, "responses", "scores")
    fields = {"prompt": prompt, "candidates": candidates}
    return Record("ranked", fields, extra_of(data, _COLUMNS))


def candidates_in(data: Mapping[str, Any], texts: str, scores: str) -> tuple[Candidate, ...]:
    """Return the answers that one column lists, with the scores that another one lists.

    Raises:
        ValueError: the lists hold something else, or differ in length.
    """
    said, judged = data.get(texts), data.get(scores)
    for name, value in ((texts, said), (scores, judged)):
        if not isinstance(value, list) or not value:
            raise ValueError(f"column '{name}' must be a list, found {kind_of(value)}")
    if len(said) != len(judged):  # type: ignore[arg-type]
        raise ValueError(f"column '{scores}' has {len(judged)} scores for {len(said)} answers")  # type: ignore[arg-type]
    found = []
    for text, score in zip(said, judged, strict=True):  # type: ignore[arg-type]
        if not isinstance(text, str):
            raise ValueError(f"column '{texts}' must be a list of texts, found {kind_of(text)}")
        number = number_of({scores: score}, scores)
        found.append(Candidate((Message("assistant", text),), number))
    return tuple(found)


def lists_of(candidates: Sequence[Candidate]) -> tuple[list[str], list[float]]:
    """Return answers as a list of texts and a list of scores.

    Raises:
        ValueError: a score is missing, or the lists have no place for what an answer says.
    """
    texts, scores = [], []
    for one in candidates:
        if one.score is None:
            raise ValueError("an answer has no score, and the list of scores has no gaps")
        lost = [name for name in ("model", "extra") if getattr(one, name) is not None]
        if lost:
            raise ValueError(f"the lists have no place for an answer's {' and '.join(lost)}")
        texts.append(only_turn(one.messages, "assistant"))
        scores.append(one.score)
    return texts, scores


def from_row(row: Row) -> dict[str, Any]:
    """Return a plain prompt and its scored answers as lists."""
    texts, scores = lists_of(row.candidates)
    query = only_turn(row.prompt, "user")
    return with_extra({"query": query, "responses": texts, "scores": scores}, row)


SHAPES = (Shape("rrhf", "ranked", __doc__ or "", (_COLUMNS,), detect, to_record, from_row),)
