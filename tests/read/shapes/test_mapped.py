"""Columns that a mapping names: every kind of record, forms of a part, errors, and claims."""

from __future__ import annotations

import json

import pytest

from curate.errors import InputError, UsageError
from curate.read import open_inputs
from curate.read.shapes import shape as shape_called
from curate.read.shapes.mapped import columns_shape, parse_columns
from curate.row import Candidate, Message
from curate.write import as_shape
from tests.read.reading import lines_of, read_all

USER, GOOD, BAD = (
    (Message("user", "q"),),
    (Message("assistant", "good"),),
    (Message("assistant", "bad"),),
)
CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]
MAPPINGS = [
    ("prompt=ask", {"ask": "q", "id": 1}, {"prompt": USER}),
    ("prompt=ask", {"ask": CHAT[:1]}, {"prompt": USER}),
    ("instruction=ask,response=reply", {"ask": "q", "reply": "good"}, {"messages": USER + GOOD}),
    (
        "instruction=ask,input=given,response=reply",
        {"ask": "q", "given": "x", "reply": "good"},
        {"messages": (Message("user", "q\n\nx"), *GOOD)},
    ),
    (
        "prompt=ask,completion=reply",
        {"ask": CHAT[:1], "reply": CHAT[1:]},
        {"messages": USER + GOOD},
    ),
    ("messages=talk", {"talk": CHAT}, {"messages": USER + GOOD}),
    ("messages=talk", {"talk": ["q", "good"]}, {"messages": USER + GOOD}),
    (
        "messages=talk,system=persona,tools=functions",
        {"talk": CHAT, "persona": "Be brief.", "functions": [{"name": "f"}]},
        {"messages": (Message("system", "Be brief."), *USER, *GOOD)},
    ),
    (
        "prompt=ask,chosen=a,rejected=b,margin=gap",
        {"ask": "q", "a": "good", "b": "bad", "gap": 1.5},
        {"prompt": USER, "chosen": GOOD, "rejected": BAD, "margin": 1.5, "p_chosen": None},
    ),
    (
        "chosen=a,rejected=b",
        {"a": CHAT, "b": [CHAT[0], {"role": "assistant", "content": "bad"}]},
        {"prompt": USER, "chosen": GOOD, "rejected": BAD, "margin": None, "p_chosen": None},
    ),
    (
        "prompt=ask,candidates=a+b,scores=sa+sb,models=ma+mb",
        {"ask": "q", "a": "good", "b": "bad", "sa": 2, "sb": 1, "ma": "m", "mb": "n"},
        {"prompt": USER, "candidates": (Candidate(GOOD, 2.0, "m"), Candidate(BAD, 1.0, "n"))},
    ),
    (
        "prompt=ask,candidates=replies,scores=stars",
        {"ask": "q", "replies": ["good", "bad"], "stars": [5, 1]},
        {"prompt": USER, "candidates": (Candidate(GOOD, 5.0), Candidate(BAD, 1.0))},
    ),
    (
        "prompt=ask,candidates=replies",
        {"ask": "q", "replies": [{"text": "good", "score": 0.5, "model": "m"}, {"text": "bad"}]},
        {"prompt": USER, "candidates": (Candidate(GOOD, 0.5, "m"), Candidate(BAD))},
    ),
    (
        "prompt=ask,response=reply,label=ok",
        {"ask": "q", "reply": "good", "ok": True},
        {"prompt": USER, "completion": GOOD, "label": True},
    ),
    (
        "messages=talk,label=verdict",
        {"talk": CHAT, "verdict": "undesirable"},
        {"prompt": USER, "completion": GOOD, "label": False},
    ),
    (
        "messages=talk,label=verdict",
        {"talk": CHAT, "verdict": 1},
        {"prompt": USER, "completion": GOOD, "label": True},
    ),
]


@pytest.mark.parametrize(("text", "source", "fields"), MAPPINGS)
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.json"])
def test_a_mapping_reads_every_kind_and_writes_it_back(text, source, fields, file, tmp_path):
    source = {**source, "other": ["kept", None]}
    path = tmp_path / file
    path.write_bytes(
        lines_of(source) * 3 if file == "rows.jsonl" else json.dumps([source] * 3).encode()
    )
    columns = parse_columns(text)
    [opened] = open_inputs({"x": {"path": str(path), "columns": columns}}).files
    found = read_all({"x": {"path": str(path), "columns": columns}})
    assert not found.failed
    assert opened.shape == columns_shape(columns)
    assert {row.kind for row in found.rows} == {shape_called(opened.shape).kind}
    assert [dict(row.fields) for row in found.rows] == [fields] * 3
    assert as_shape(found.rows[0], opened.shape) == source


def test_texts_are_read_by_whole_columns(tmp_path):
    from curate.read.to_rows import lines_at_once

    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(*[{"id": n, "ask": f"q{n}", "reply": "a"} for n in range(3)]))
    shape = columns_shape({"instruction": "ask", "response": "reply"})
    [part] = open_inputs(str(path), shape=shape).parts()
    assert lines_at_once(part, path.read_bytes()) is not None
    assert [row.instruction for row in read_all(str(path), shape=shape).rows] == ["q0", "q1", "q2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instruction", "PART=COLUMN"),
        ("instrution=a,response=b", "unknown part 'instrution'; did you mean 'instruction'"),
        ("chosen=a", "make no record.*preference: chosen and rejected"),
        ("prompt=a,instruction=b", "'prompt' and 'instruction' mean the same"),
        ("label=a,prompt=b", "make no record"),
        ("", "columns must map parts"),
    ],
)
def test_a_wrong_mapping_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        columns_shape(parse_columns(text))


def test_a_mapping_and_a_shape_are_one_too_many(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(lines_of({"a": "b"}))
    given = {"path": str(tmp_path / "rows.jsonl"), "columns": {"prompt": "a"}, "shape": "prompt"}
    with pytest.raises(UsageError, match="`columns` and `shape`"):
        open_inputs({"x": given})


def test_a_column_that_is_missing_fails_its_row_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of({"a": "q", "b": "r"}, {"a": "q"}, {"a": "q", "b": 3}))
    found = read_all(str(path), shape=columns_shape({"instruction": "a", "response": "b"}))
    assert len(found.rows) == 1
    assert [error for _, _, error, _ in found.failed] == [
        "column 'b' is missing",
        "column 'b' must be a string or a list of turns, found the number 3",
    ]


# Files that would be read as bare prompts, or as half of a pair, and the line that says better.
HALVES = [
    ({"prompt": "q", "answer": "a"}, "instruction=prompt,response=answer"),
    ({"prompt": "q", "output": "a"}, "instruction=prompt,response=output"),
    ({"prompt": "q", "best_answer": "a"}, "instruction=prompt,response=best_answer"),
    ({"prompt": "q", "response 1": "a", "response 2": "b"}, "candidates=response 1+response 2"),
    ({"prompt": "q", "response_0": "a", "response_1": "b"}, "candidates=response_0+response_1"),
    ({"prompt": "q", "answers": ["a", "b"]}, "prompt=prompt,candidates=answers"),
    ({"prompt": "q", "answer1": "a", "answer2": "b"}, "candidates=answer1+answer2"),
    ({"prompt": "q", "output_a": "a", "output_b": "b"}, "candidates=output_a+output_b"),
    ({"prompt": "q", "completion": "a", "completion_2": "b"}, "candidates=completion+completion_2"),
    ({"question": "q", "answer": "a", "rejected_answer": "b"}, "rejected_answer"),
    ({"instruction": "q", "output": "a", "outputs": ["a", "b"]}, "outputs"),
]


@pytest.mark.parametrize(("record", "line"), HALVES)
def test_no_shape_claims_half_of_a_record(record, line, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(record, record))
    with pytest.raises(InputError, match="other half of a record") as caught:
        open_inputs(str(path))
    assert line in str(caught.value)
    assert "columns: {" in str(caught.value)
    # Who names the shape has said what he wants.
    assert open_inputs(str(path), shape="prompt").count == 1


def test_the_proposal_for_a_list_of_answers_has_their_scores(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of({"prompt": "q", "responses": ["a", "b"], "scores": [1.0, 2.0]}))
    with pytest.raises(InputError) as caught:
        open_inputs(str(path))
    assert "--columns prompt=prompt,candidates=responses,scores=scores," in str(caught.value)


def test_texts_that_differ_between_equal_prompts_are_the_other_half(tmp_path):
    path = tmp_path / "rows.jsonl"
    same = [{"prompt": "q", "essay": text} for text in ("one long text", "another long text")]
    path.write_bytes(lines_of(*same))
    with pytest.raises(InputError, match="leave 'essay' unread"):
        open_inputs(str(path))
    path.write_bytes(lines_of(*[{**r, "prompt": f"q{n}"} for n, r in enumerate(same)]))
    assert open_inputs(str(path)).files[0].shape == "prompt"


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "q", "id": "a b", "category": "x y", "num_turns": 3},
        {"prompt": "q", "canonical_solution": "a", "test": "t"},
        {"prompt": "q", "reference_answer": "a"},
        {"question": "q", "answer": "a", "expected_answer": "42"},
        {"instruction": "q", "output": "a", "text": "q a", "model_output_length": 3},
    ],
)
def test_other_columns_do_not_stand_in_the_way(record, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(lines_of(record))
    assert len(read_all(str(tmp_path / "rows.jsonl")).rows) == 1


def test_an_unknown_file_is_told_the_line_to_write(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of({"Frage": "Wer?", "Erwiderung": "Ein langer Satz."}))
    with pytest.raises(InputError, match=r"--columns instruction=Frage,response=Erwiderung"):
        open_inputs(str(path))


SYSTEMS = [
    ("system", {"messages": CHAT}),
    ("system", {"prompt": "q", "completion": "a"}),
    ("system", {"prompt": "q", "chosen": "a", "rejected": "b"}),
    ("system", {"prompt": "q"}),
    ("system", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
    ("system_prompt", {"instruction": "q", "input": "", "response": "a"}),
    ("system_prompt", {"question": "q", "answer": "a"}),
    ("system_prompt", {"question": "q", "response": "a"}),
    ("system_message", {"instruction": "q", "output": "a", "input": ""}),
    ("system", {"instruction": "q", "responses": ["a", "b"], "rewards": [1.0, 0.5]}),
    ("system", {"messages": CHAT, "label": True}),
    ("system", {"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "no"}]}),
]


@pytest.mark.parametrize(("column", "record"), SYSTEMS)
def test_a_system_column_is_a_system_turn_in_every_shape(column, record):
    source = {column: "You are terse.", **record}
    [row] = read_all([source]).rows
    turns = row.fields["messages" if row.kind == "sft" else "prompt"]
    assert turns[0] == Message("system", "You are terse.")
    assert row.instruction == "q"
    [opened] = open_inputs([source]).files
    assert as_shape(row, opened.shape) == source
    [blank] = read_all([{**source, column: ""}]).rows
    assert as_shape(blank, opened.shape) == {**source, column: ""}
