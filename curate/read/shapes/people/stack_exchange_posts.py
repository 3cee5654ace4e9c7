"""StackExchange's dump: posts (`Posts.xml`, or its rows as JSON), questions and answers apart.

They are brought together, a row for each question. An answer's score is that of its votes (see
`stack_exchange`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.people.stack_exchange import (
    ANSWERS,
    answer_pages,
    answers_in,
    candidate_of,
    question_page,
    score_of,
    text_in,
)
from curate.read.shapes.people.vote_values import number_in
from curate.read.shapes.record_fields import extra_columns, extra_of, text_of
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

POST, TYPE, PARENT, ACCEPTED = "Id", "PostTypeId", "ParentId", "AcceptedAnswerId"
QUESTION, ANSWER = "1", "2"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is one post of a dump."""
    return {POST, TYPE, "Body"} <= data.keys()


def to_record(data: Mapping[str, Any]) -> Record:
    """Return a question of a dump with its answers, which stand in a list."""
    candidates = []
    for one in answers_in(data):
        votes = number_in(one.get("Score"))
        if votes is None:
            raise ValueError(f"an answer's Score must be a number, found {one.get('Score')!r:.40}")
        accepted = data.get(ACCEPTED) is not None and str(data[ACCEPTED]) == str(one.get(POST))
        rest = {k: v for k, v in one.items() if k != "Body"}
        candidates.append(candidate_of(one, "Body", score_of(votes, accepted), rest))
    page = text_of(data, "Body")
    asked = "\n\n".join(filter(None, (data.get("Title") or "", text_in(page))))
    fields = {"prompt": (Message("user", asked),), "candidates": tuple(candidates)}
    return Record("ranked", fields, extra_of(data, ("Body", ANSWERS), read_as=page))


def from_row(row: Row) -> list[dict[str, Any]]:
    """Return the posts of a question and its answers, the question first."""
    columns = extra_columns(row)
    if not detect({**columns, "Body": ""}):
        raise ValueError("it was read from no dump; only such rows have this shape")
    answers = [{**rest, "Body": page} for _, page, rest in answer_pages(row)]
    return [{**columns, "Body": question_page(row, columns.get("Title") or "")}, *answers]


SHAPES = (
    Shape(
        "stack_exchange_posts",
        "ranked",
        __doc__ or "",
        ((POST, TYPE, "Body"),),
        detect,
        to_record,
        from_row,
        system=(),
        grouped=True,
        for_reading=True,
    ),
)
