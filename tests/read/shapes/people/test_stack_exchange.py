"""StackExchange's votes become scores by the published rule, and its pages texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline
from curate.read.shapes import shape
from curate.read.shapes.people.stack_exchange import score_of
from curate.steps import Pairs
from tests.read.reading import read_all

DATA = Path(__file__).with_name("data")


@pytest.mark.parametrize(
    ("votes", "accepted", "score"),
    [
        (0, False, 0), (1, False, 1), (2, False, 2), (3, False, 2), (4, False, 2), (5, False, 3),
        (7, False, 3), (11, False, 4), (1000, False, 10), (0, True, 1), (7, True, 4),
        (-1, False, -1), (-9, True, -1),
    ],
)  # fmt: skip
def test_the_score_is_that_of_the_paper(votes: int, accepted: bool, score: int) -> None:
    assert score_of(votes, accepted) == score


def test_a_dump_becomes_questions_with_scored_answers(tmp_path: Path) -> None:
    read = read_all(str(DATA / "Posts.xml"))
    [row] = read.rows
    assert row.prompt[0].content == "Divergence & sums\n\nWhy does x diverge?"
    assert [(c.messages[0].content, c.score) for c in row.candidates] == [
        ("Compare it.", 3), ("It is harmonic.\n\nSee Cauchy.", 3), ("It does not.", -1),
    ]  # fmt: skip
    assert json.loads(row.candidates[0].extra or "{}")["OwnerUserId"] == "9"
    assert sorted((line, error) for _, line, error, _ in read.failed) == [
        (7, "not a post: type '4' is that of no question (1) and no answer (2)"),
        (8, "its question 99 is not in the dump"),
        (9, "the question has no answer"),
    ]
    result = Pipeline([Pairs()]).run(
        str(DATA / "Posts.xml"), run=tmp_path / "run", allow_failed=1.0
    )
    [pair] = result.kept
    assert (pair.chosen[0].content, pair.rejected[0].content) == ("Compare it.", "It does not.")
    assert pair.fields["margin"] == 4.0


def test_posts_go_back_as_they_came() -> None:
    [row] = read_all(str(DATA / "Posts.xml")).rows
    posts = shape("stack_exchange_posts").write(row)
    assert [post["Id"] for post in posts] == ["1", "2", "3", "4"]
    assert posts[0]["Body"] == "<p>Why does <code>x</code> diverge?</p>\n"
    assert posts[0]["Tags"] == "<series>"
    # The same posts as JSON, in whatever order.
    [again] = read_all(posts[::-1]).rows
    assert again.prompt == row.prompt
    assert {c.messages: c.score for c in again.candidates} == {
        c.messages: c.score for c in row.candidates
    }
    other = row._replace(fields={**row.fields, "candidates": row.candidates[:1]})
    assert len(shape("stack_exchange_posts").write(other)) == 2


H4: dict[str, Any] = {
    "qid": 4,
    "question": "<p>Why?</p>",
    "answers": [
        {"answer_id": 7, "author": "a", "author_id": 1, "author_profile": "u", "pm_score": 4,
         "selected": True, "text": "<p>So.</p>"},
        {"answer_id": 9, "author": "b", "author_id": 2, "author_profile": "v", "pm_score": -1,
         "selected": False, "text": "<p>No.</p>"},
    ],
    "date": "2010/01/01",
    "metadata": ["https://math.stackexchange.com"],
}  # fmt: skip


def test_the_h4_dataset_is_read_and_goes_back() -> None:
    [row] = read_all([H4]).rows
    assert [(c.messages[0].content, c.score) for c in row.candidates] == [("So.", 4), ("No.", -1)]
    assert shape("stack_exchange").write(row) == H4
    rewritten = row._replace(fields={**row.fields, "prompt": row.prompt[:0]})
    with pytest.raises(ValueError, match="single plain user turn"):
        shape("stack_exchange").write(rewritten)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answers": []}, "the question has no answer"),
        ({"answers": "x"}, "column 'answers' must be a list of answers, found a string"),
        ({"answers": [3]}, "an answer must be an object, found the number 3"),
        ({"answers": [H4["answers"][0], None]}, "an answer must be an object, found nothing"),
        ({"answers": [{"pm_score": "x", "text": "a"}]}, "pm_score"),
        ({"question": None}, "column 'question' must be a string"),
    ],
)
def test_what_is_no_question_is_a_failed_record(change: dict[str, Any], said: str) -> None:
    read = read_all([{**H4, **change}], shape="stack_exchange")
    assert said in read.failed[0][2]


def test_posts_that_are_none_name_what_they_lack() -> None:
    posts: list[Any] = [
        {"Id": 1, "PostTypeId": 1, "Body": "q", "Score": 1},
        {"Id": 2, "PostTypeId": 2, "Body": "a", "ParentId": 1, "Score": "many"},
        {"Id": 3, "PostTypeId": 2, "Body": "a"},
        {"Id": "x", "PostTypeId": 1, "Body": "q"},
        {"Id": 1, "PostTypeId": 1, "Body": "q"},
        {"Id": "9" * 30, "PostTypeId": 1, "Body": "q"},
    ]
    read = read_all(posts, shape="stack_exchange_posts")
    assert read.rows == []
    assert sorted(error for _, _, error, _ in read.failed) == [
        "an answer's Score must be a number, found 'many'",
        "not a post: invalid literal for int() with base 10: 'x'",
        "not a post: no 'ParentId'",
        f"not a post: the number {'9' * 30} of a question is out of range",
        "the question 1 is there already",
    ]


def test_an_answer_without_a_number_is_not_the_accepted_one() -> None:
    posts = [
        {"Id": 1, "PostTypeId": 1, "Body": "q", "AcceptedAnswerId": 2},
        {"Id": 2, "PostTypeId": 2, "Body": "a", "ParentId": 1, "Score": 0},
        {"PostTypeId": 2, "Body": "b", "ParentId": 1, "Score": 0},
    ]
    [row] = read_all(posts, shape="stack_exchange_posts").rows
    assert [(c.messages[0].content, c.score) for c in row.candidates] == [("a", 1), ("b", 0)]
