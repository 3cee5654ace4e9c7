"""The texts of a row, and the tool calls and media beside them: in rows and in columns alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.chunk import Chunk, table_of
from curate.read.shapes import messages as chat
from curate.row import Candidate, Message, On, Row, canonical_bytes, digest
from curate.steps.dedup.exact import Exact
from curate.steps.dedup.near import Near
from curate.steps.filters.length import Length
from curate.steps.filters.structure import Structure
from curate.steps.filters.truncated import Truncated
from tests.steps.conftest import both_decisions, both_scores

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
TEXT = st.sampled_from(["", " ", "a", "Hello there", "a\nb", "你好"])
CALL = st.sampled_from(
    [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}},
        {"id": "2", "function": {"name": "f", "arguments": {"a": 2, "b": 1}}},
        {"function": {"name": "g", "arguments": "not json"}},
        {"type": "custom", "custom": {"name": "h", "input": "x"}},
        {"name": "k", "arguments": {}},
        "odd",
    ]
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}
PARTS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "tool_calls": st.lists(CALL, max_size=2),
        "function_call": st.none() | st.just({"name": "old", "arguments": "{}"}),
        "content": st.none() | st.just([IMAGE]) | st.just([{"type": "text", "text": "a"}]),
        "images": st.just([]) | st.just(["1.png"]),
        "toxic": st.booleans(),
        "language": st.just("image"),
    },
)
MESSAGE = st.builds(
    lambda role, content, parts: Message(role, content, json.dumps(parts) if parts else None),
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    PARTS,
)
TURNS = st.lists(MESSAGE, max_size=4).map(tuple)
EXTRA = st.sampled_from([None, "{}", '{"images":["1.png"]}', '{"image":null}', '{"note":"image"}'])
FIELDS = st.one_of(
    st.tuples(st.just("sft"), st.fixed_dictionaries({"messages": TURNS})),
    st.tuples(st.just("prompt"), st.fixed_dictionaries({"prompt": TURNS})),
    st.tuples(
        st.just("preference"),
        st.fixed_dictionaries(
            {"prompt": TURNS, "chosen": TURNS, "rejected": TURNS}
            | dict.fromkeys(("margin", "p_chosen"), st.none())
        ),
    ),
    st.tuples(
        st.just("ranked"),
        st.fixed_dictionaries(
            {"prompt": TURNS, "candidates": st.lists(TURNS.map(Candidate), max_size=2).map(tuple)}
        ),
    ),
    st.tuples(
        st.just("unpaired"),
        st.fixed_dictionaries({"prompt": TURNS, "completion": TURNS, "label": st.just(True)}),
    ),
)
ONS: tuple[On, ...] = ("instruction", "response", "whole")


def row_of(kind: str, fields: dict[str, Any], extra: str | None = None) -> Row:
    return Row(digest(canonical_bytes(kind, fields)).hex(), (0, 0, 0), kind, fields, extra=extra)


ROWS = st.lists(st.builds(lambda pair, extra: row_of(*pair, extra), FIELDS, EXTRA), max_size=5)


@given(ROWS)
def test_rows_and_columns_hold_the_same(rows: list[Row]) -> None:
    for on in ONS:
        chunk = Chunk(table_of(rows))
        assert chunk.texts(on).to_pylist() == [row.text(on) for row in rows]
        expected = {place: row.attached(on) for place, row in enumerate(rows)}
        assert chunk.attached(on) == {place: text for place, text in expected.items() if text}


def both_forms(rows: list[Row]) -> None:
    for on in ONS:
        both_decisions(Exact(on=on), rows)
        both_decisions(Near(on=on, shingle=1), rows)
        both_scores(Length(on=on), rows)
    both_scores(Structure(), rows)


@settings(max_examples=30)
@given(ROWS)
def test_both_forms_of_the_steps_agree(rows: list[Row]) -> None:
    both_forms(rows)


@pytest.mark.slow
@settings(max_examples=300)
@given(ROWS)
def test_both_forms_of_the_steps_agree_on_more_rows(rows: list[Row]) -> None:
    both_forms(rows)


def message(**parts: Any) -> Message:
    return Message("assistant", "", json.dumps(parts))


def test_calls_are_read_in_every_form() -> None:
    written = '{"b": [1, {"d": 0, "c": "é"}], "a": null}'
    forms = [
        {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": written}}]},
        {"tool_calls": [{"function": {"arguments": json.loads(written), "name": "f"}}]},
        {"tool_calls": [{"name": "f", "arguments": written}]},
        {"function_call": {"name": "f", "arguments": written}},
    ]
    assert {message(**form).text for form in forms} == {'f({"a":null,"b":[1,{"c":"é","d":0}]})'}
    assert len({message(**form).attached for form in forms}) == 1
    two = message(tool_calls=[{"name": "f", "arguments": {}}, {"name": "g", "arguments": "x"}])
    assert two.text == "f({})\ng(x)"
    assert two._replace(content="Wait.").text == "Wait."


def test_media_are_told_from_other_keys_of_a_turn() -> None:
    text = {"type": "text", "text": "What is it?"}
    assert message(content=[text]).media == ()
    assert len(message(content=[text, IMAGE]).media) == 1
    assert message(images=["1.png"]).media != message(images=["2.png"]).media
    assert message(toxic=False, language="image", turn_identifier=1).attached == ""


def case(name: str) -> list[Row]:
    if not CASES.is_dir():
        pytest.skip("../shared/cases is absent")
    lines = (CASES / name).read_text("utf-8").splitlines()
    records = [chat.to_record(json.loads(line)) for line in lines]
    return [row_of(one.kind, dict(one.fields), one.extra) for one in records]


@pytest.mark.parametrize("name", ["X_toolsdup.jsonl", "Y_callfinal.jsonl"])
def test_rows_that_differ_in_tool_calls_alone_are_different(name: str) -> None:
    rows = case(name)
    twin = rows[0]._replace(seq=(0, 0, 9))
    for step in (Exact(), Near(similarity=0.5)):
        assert both_decisions(step, [*rows, twin]).code.tolist() == [-1, -1, -1, 0]


def test_rows_that_differ_in_an_image_alone_are_different() -> None:
    def asked(url: str) -> Row:
        image = {"type": "image_url", "image_url": {"url": url}}
        question = Message("user", "What is it?", json.dumps({"content": [image]}))
        return row_of("sft", {"messages": (question, Message("assistant", "A cat."))})

    rows = [asked("a.png"), asked("b.png"), asked("a.png")]
    column = [
        row_of("sft", {"messages": (Message("user", "x"),)}, f'{{"images":["{n}"]}}') for n in "aba"
    ]
    for step in (Exact(), Near(), Exact(on="instruction"), Near(on="instruction")):
        for group in (rows, column):
            assert both_decisions(step, group).code.tolist() == [-1, -1, 0]


def offer(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}, **more}}


def test_whole_rows_that_offer_other_tools_are_different() -> None:
    """What a model may call is what it is trained on; a question is the same question beside it."""
    first = [offer("look"), offer("find")]
    same = [
        {"tools": first},
        {"tools": first[::-1]},
        {"tools": [one["function"] for one in first]},
        {"tools": json.dumps(first)},
        {"functions": [one["function"] for one in first]},
    ]
    others = [
        {"tools": first[:1]},
        {"tools": [offer("look"), offer("find", strict=True)]},
        {"tools": []},
        {"tools": None},
        {"page": "tools"},
        {},
    ]
    turns = {"messages": (Message("user", "Where is it? Look for it."), Message("assistant", "."))}
    rows = [row_of("sft", turns, json.dumps(extra)) for extra in [*same, *others]]
    for step in (Exact(), Near()):
        # The last four offer none, so three of them are copies of the first of these.
        assert both_decisions(step, rows).code.tolist() == [-1, 0, 0, 0, 0, -1, -1, -1, 0, 0, 0]
    for step in (Exact(on="instruction"), Near(on="instruction"), Exact(on="response")):
        assert both_decisions(step, rows).code.tolist() == [-1, *[0] * 10]


def test_an_answer_that_is_a_tool_call_is_not_empty() -> None:
    rows = case("Y_callfinal.jsonl")
    assert rows[0].response == 'lamp_on({"x":1})'
    assert min(both_scores(Length(), rows)) > 0
    assert both_scores(Truncated(), rows) == [0, 0, 0]
    assert both_scores(Structure(), rows) == [0, 0, 0]


def test_keys_of_a_turn_are_no_medium() -> None:
    (row,) = case("X_wildchat_messages.jsonl")
    assert [turn.attached for turn in row.messages] == ["", ""]
    empty = row.messages[1]._replace(content="")
    broken = row._replace(fields={"messages": (row.messages[0], empty)})
    assert both_scores(Structure(), [broken]) == [1]
