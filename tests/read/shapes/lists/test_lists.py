"""PRO's and RRHF's lists: as their authors write them, and what they would lose is named."""

import json

import pytest

from curate.read.shapes import shape
from curate.row import Candidate, Message, Row
from tests.read.reading import read_all

# As PRO's preparation of HH-RLHF writes a sample of two answers.
SAMPLE = {
    "meta": {"path": "hhrlhf/harmless-base/train.jsonl", "line_num": 1, "task": "dialogue"},
    "prefix": [["<|prompter|>Hi", "<|assistant|>Hello", "<|prompter|>Why?", "<|assistant|>"]] * 2,
    "suffix": ["Because.", "No idea."],
    "reward": [1.5, -0.25],
    "sft_index": 0,
}


def ranked(*answers: Candidate, prompt: tuple[Message, ...] = (Message("user", "q"),)) -> Row:
    return Row("0" * 32, (0, 0, 0), "ranked", {"prompt": prompt, "candidates": answers})


def said(text: str, score: float | None = 1.0, **more: str) -> Candidate:
    return Candidate((Message("assistant", text),), score, **more)


def test_a_sample_of_pro_is_a_ranked_row_and_goes_back() -> None:
    [row] = read_all([SAMPLE]).rows
    assert [(m.role, m.content) for m in row.prompt] == [
        ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"),
    ]  # fmt: skip
    assert [(c.messages[0].content, c.score) for c in row.candidates] == [
        ("Because.", 1.5), ("No idea.", -0.25),
    ]  # fmt: skip
    assert shape("pro").write(row) == SAMPLE


def test_the_best_answer_leaves_first() -> None:
    row = ranked(said("a", 0.0), said("b", 2.0), said("c", 2.0))
    written = shape("pro").write(row)
    assert (written["suffix"], written["reward"]) == (["b", "c", "a"], [2.0, 2.0, 0.0])
    assert shape("rrhf").write(row) == {
        "query": "q", "responses": ["a", "b", "c"], "scores": [0.0, 2.0, 2.0],
    }  # fmt: skip
    with pytest.raises(ValueError, match="'sft_index' names another answer"):
        shape("pro").write(row._replace(extra=json.dumps({"sft_index": 2})))


@pytest.mark.parametrize("name", ["pro", "rrhf"])
@pytest.mark.parametrize(
    ("row", "lost"),
    [
        (ranked(said("a", None)), "an answer has no score"),
        (ranked(said("a", model="m")), "no place for an answer's model"),
        (ranked(said("a", extra='{"label":true}')), "no place for an answer's extra"),
        (ranked(Candidate((Message("assistant", "a", '{"name":"x"}'),), 1.0)), "single plain"),
    ],
)
def test_what_the_lists_would_lose_is_named(name: str, row: Row, lost: str) -> None:
    with pytest.raises(ValueError, match=lost):
        shape(name).write(row)


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        (ranked(said("a"), prompt=(Message("system", "s"),)), "no system's"),
        (ranked(said("a <|prompter|> b")), "holds a mark of turns"),
        (ranked(said("a"), prompt=(Message("user", "<|assistant|>"),)), "holds a mark of turns"),
    ],
)
def test_what_pro_alone_would_lose_is_named(row: Row, lost: str) -> None:
    with pytest.raises(ValueError, match=lost):
        shape("pro").write(row)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"suffix": ["a"]}, "column 'reward' has 2 scores for 1 answers"),
        ({"suffix": []}, "column 'suffix' must be a list"),
        ({"suffix": ["a", 3]}, "must be a list of texts, found the number 3"),
        ({"prefix": [["<|assistant|>"], ["<|prompter|>x", "<|assistant|>"]]}, "prefixes differ"),
        ({"prefix": [["<|prompter|>x"]] * 2}, "ends in '<|assistant|>'"),
        ({"prefix": [["x", "<|assistant|>"]] * 2}, "a turn must begin with"),
        ({"prefix": [["<|assistant|>"]]}, "a list of 2 lists of turns"),
    ],
)
def test_a_broken_sample_fails(change: dict[str, object], error: str) -> None:
    read = read_all([{**SAMPLE, **change}], shape="pro")
    assert error in read.failed[0][2]


def test_rrhf_takes_missing_scores_only_as_nothing() -> None:
    [row] = read_all([{"query": "q", "responses": ["a", "b"], "scores": [1, None]}]).rows
    assert [c.score for c in row.candidates] == [1.0, None]
    read = read_all([{"query": "q", "responses": ["a"], "scores": ["x"]}], shape="rrhf")
    assert read.failed
