"""StackExchange questions and their answers, each scored by its votes.

The score is that of Askell et al. 2021 (arXiv 2112.00861, appendix): log2(1 + upvotes) rounded to a
whole number, one more for the answer that the questioner accepted, and -1 where there are more
votes against it than for it. This is the H4 dataset, where the score is `pm_score`;
`stack_exchange_posts` is the sites' own dump. Both are HTML, of which the rows hold the text; the
HTML stays beside it for the way back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from curate.read.html_text import html_text
from curate.read.shapes.record_fields import (
    dumps,
    extra_columns,
    extra_of,
    kind_of,
    mark,
    number_of,
    only_turn,
    text_of,
)
from curate.read.shapes.shape import Shape
from curate.row import Candidate, Message, Record, Row

ANSWERS = "answers"
_HTML = "html"


def score_of(votes: float, accepted: bool) -> float:
    """Return the score of an answer with so many votes (those for it less those against it)."""
    if votes < 0:
        return -1.0
    return float(math.floor(math.log2(1 + votes) + 0.5) + accepted)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a question with answers that have a `pm_score`."""
    answers = data.get(ANSWERS)
    return isinstance(answers, list) and all(
        isinstance(one, Mapping) and {"pm_score", "text"} <= one.keys() for one in answers
    )


def to_record(data: Mapping[str, Any]) -> Record:
    """Return a question with its answers."""
    answers = answers_in(data)
    candidates = []
    for one in answers:
        rest = {k: v for k, v in one.items() if k not in ("text", "pm_score")}
        candidates.append(candidate_of(one, "text", number_of(one, "pm_score"), rest))
    page = text_of(data, "question")
    fields = {"prompt": (Message("user", text_in(page)),), "candidates": tuple(candidates)}
    return Record("ranked", fields, extra_of(data, ("question", ANSWERS), read_as=page))


def from_row(row: Row) -> dict[str, Any]:
    """Return a question with its answers, as the H4 dataset has them."""
    answers = [
        {"text": page, "pm_score": one.score, **rest} for one, page, rest in answer_pages(row)
    ]
    return {"question": question_page(row), ANSWERS: answers, **extra_columns(row)}


def answers_in(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the answers that a record lists, or raise `ValueError`."""
    answers = data.get(ANSWERS)
    if not isinstance(answers, list) or not answers:
        raise ValueError(
            "the question has no answer"
            if answers == []
            else f"column '{ANSWERS}' must be a list of answers, found {kind_of(answers)}"
        )
    for one in answers:
        if not isinstance(one, Mapping):
            raise ValueError(f"an answer must be an object, found {kind_of(one)}")
    return answers


def candidate_of(
    one: Mapping[str, Any], column: str, score: float | None, rest: dict[str, Any]
) -> Candidate:
    """Return an answer whose HTML stands in a column, which stays beside what else is known."""
    page = text_of(one, column)
    extra = dumps({**rest, _HTML: page})
    return Candidate((Message("assistant", text_in(page)),), score, None, extra)


def text_in(page: str) -> str:
    """Return what a piece of HTML says."""
    return html_text(page)[1].strip()


def question_page(row: Row, title: str = "") -> str:
    """Return the HTML of what was asked, or raise where a step rewrote the text."""
    page, text = mark(row, "read_as"), only_turn(row.prompt, "user")
    asked = "\n\n".join(filter(None, (title, text_in(page) if isinstance(page, str) else "")))
    if not isinstance(page, str) or asked != text:
        raise ValueError("its question is no longer the page that was read; use 'ranked'")
    return page


def answer_pages(row: Row) -> list[tuple[Candidate, str, dict[str, Any]]]:
    """Return the answers with their HTML and what else was said of them."""
    found = []
    for one in row.candidates:
        rest = json.loads(one.extra or "{}")
        page = rest.pop(_HTML, None)
        if not isinstance(page, str) or text_in(page) != only_turn(one.messages, "assistant"):
            raise ValueError("an answer is no longer the page that was read; use 'ranked'")
        found.append((one, page, rest))
    return found


SHAPES = (
    Shape(
        "stack_exchange",
        "ranked",
        "StackExchange questions with answers, scored by votes (H4; Askell et al. 2021).",
        (("question", ANSWERS),),
        detect,
        to_record,
        from_row,
        for_reading=True,
    ),
)
