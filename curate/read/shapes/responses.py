"""Several responses to one instruction, with a reward for each, as Magpie writes them.

Xu et al. 2024. The rewards are a list as long as the responses, of numbers or of objects with a
`score`, in a column whose name begins with `reward` or `score`.
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
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and a list of responses."""
    return "instruction" in data and isinstance(data.get("responses"), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the responses as candidates, scored by the rewards."""
    texts = data.get("responses")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise ValueError(f"column 'responses' must be a list of texts, found {kind_of(texts)}")
    scores = _scores(data, len(texts))
    candidates = tuple(
        Candidate((Message("assistant", text),), score)
        for text, score in zip(texts, scores, strict=True)
    )
    prompt = (Message("user", text_of(data, "instruction")),)
    fields = {"prompt": prompt, "candidates": candidates}
    return Record("ranked", fields, extra_of(data, ("instruction", "responses")))


def _scores(data: Mapping[str, Any], count: int) -> list[float | None]:
    for name, values in data.items():
        if name.startswith(("reward", "score")) and isinstance(values, list):
            if len(values) != count:
                raise ValueError(f"column '{name}' has {len(values)} rewards for {count} responses")
            entries = [v if isinstance(v, Mapping) else {"score": v} for v in values]
            return [number_of(entry, "score") for entry in entries]
    return [None] * count


def from_row(row: Row) -> dict[str, Any]:
    """Return the answers as a list of texts; their rewards come back with the extra columns."""
    texts = [only_turn(candidate.messages, "assistant") for candidate in row.candidates]
    if _scores(extra_columns(row), len(texts)) != [c.score for c in row.candidates]:
        raise ValueError("its answers' scores are not those of its rewards column; use 'ranked'")
    return with_extra({"instruction": only_turn(row.prompt, "user"), "responses": texts}, row)


SHAPES = (
    Shape(
        "responses",
        "ranked",
        __doc__ or "",
        (("instruction", "responses"),),
        detect,
        to_record,
        from_row,
    ),
)
