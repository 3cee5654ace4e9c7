"""Questions and answers in an object or in lines, read strictly."""

import json

import pytest

from curate.prompts import prompt as prompts
from curate.prompts.replies.pairs import Pair, pairs_in

SCHEMA = prompts.load("document_qa").schema
ONE = {"question": "What?", "answer": "That.", "quote": "that"}


def test_an_object_holds_pairs_with_quotes() -> None:
    text = f"Here you are:\n```json\n{json.dumps({'pairs': [ONE, ONE]})}\n```"
    assert pairs_in(text, SCHEMA) == [Pair("What?", "That.", "that")] * 2


@pytest.mark.parametrize(
    "text",
    [
        "Question: What?\nAnswer: That.\nQuestion: Why?\nAnswer: So,\nand so.",
        "**Question 1:** What?\n**Answer 1:** That.\n\n"
        "**Question 2:** Why?\n**Answer 2:** So,\nand so.",
        "- Q: What?\n- A: That.\n- Q: Why?\n- A: So,\nand so.",
    ],
)
def test_lines_hold_pairs_numbered_or_not(text: str) -> None:
    assert pairs_in(text, None) == [Pair("What?", "That."), Pair("Why?", "So,\nand so.")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line that begins"),
        ("I'm sorry, but I can't help with that.", "no line that begins"),
        ("Sure!\nQuestion: What?\nAnswer: That.", "begins with a text"),
        ("Answer: That.\nQuestion: What?", "do not alternate"),
        ("Question: What?\nQuestion: Why?\nAnswer: So.", "do not alternate"),
        ("Question: What?", "do not alternate"),
        ("Question 1: What?\nAnswer 1: A.\nQuestion 3: Why?\nAnswer 3: B.", "numbers its pairs"),
        ("Question: What?\nAnswer:", "an answer is empty"),
        ("Question:\nAnswer: That.", "a question is empty"),
        ("Question: What?\nAnswer: " + "yes " * 10_000, "repeats itself"),
        ("Question: What?\nAnswer: A\x07B", "control character"),
    ],
)
def test_lines_that_are_no_pairs_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pairs_in(text, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("I'm sorry, but I can't help with that.", "no JSON object"),
        ('{"pairs": [{"question": "What?",', "not valid JSON"),
        ('{"pairs": []}', "pairs"),
        ('{"pairs": [{"question": "What?", "answer": "That."}]}', "lacks"),
        (json.dumps({"pairs": [{**ONE, "answer": "  "}]}), "an answer is empty"),
        (json.dumps({"pairs": [{**ONE, "answer": "no " * 10_000}]}), "repeats itself"),
        (json.dumps({"pairs": [{**ONE, "question": "\u0000"}]}), "control character"),
        ('{"pairs": [{"question": "a\x01", "answer": "b", "quote": "c"}]}', "not valid JSON"),
        (json.dumps({"pairs": [ONE]}) * 2, "more than one object"),
    ],
)
def test_objects_that_are_no_pairs_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pairs_in(text, SCHEMA)


def test_what_a_schema_asks_for_besides_is_passed_over():
    schema = {"type": "object", "properties": {"pairs": {"type": "array"}}, "required": ["pairs"]}
    text = '{"pairs": [{"question": "Why?", "answer": "Because.", "level": 3}]}'
    assert pairs_in(text, schema) == [Pair("Why?", "Because.", None)]
