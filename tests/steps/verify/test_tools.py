"""Every planted fault is found under its name, and gold calls raise none."""

import copy
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import Pipeline
from curate.row import Message, Row
from curate.step import Drop, Made
from curate.steps import Tools
from curate.steps.verify.tools import FAULTS
from tests.steps.verify import bfcl

real = pytest.mark.skipif(not bfcl.DATA.is_dir(), reason="../shared/data/bfcl is absent")
WEATHER = {
    "name": "weather",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "maximum": 14},
            "share": {"type": "float"},
            "type": {"type": "tuple", "items": {"type": "any"}},
            "unit": {"type": "string", "enum": ["C", "F"], "default": None},
        },
        "required": ["city"],
    },
}
PLAIN = bfcl.conversation("Rain in Rome?", [("weather", {"city": "Rome"})], [WEATHER])
TWO = bfcl.conversation(
    "Rome, Oslo?", [("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})], [WEATHER]
)


def row_of(data: dict[str, Any]) -> Row:
    """Return a record of shape `messages` as a row."""
    turns = tuple(
        Message(
            turn["role"],
            turn.get("content") or "",
            json.dumps({k: v for k, v in turn.items() if k not in ("role", "content")}),
        )
        for turn in data["messages"]
    )
    extra = {key: value for key, value in data.items() if key != "messages"}
    return Row("0" * 32, (0,), "sft", {"messages": turns}, None, json.dumps(extra))


def found_in(data: dict[str, Any], **fields: Any) -> list[str]:
    """Return the faults of a record, the reason of the drop first."""
    made = Tools(**fields).make(row_of(data))
    if not isinstance(made, Drop):
        return []
    assert made.detail is not None
    assert made.score == len(made.detail["faults"]) or made.score > 20
    return [made.reason, *(fault["name"] for fault in made.detail["faults"])]


def call_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return the function of the first call."""
    return next(t for t in data["messages"] if t.get("tool_calls"))["tool_calls"][0]["function"]


def with_arguments(data: dict[str, Any], changed: dict[str, Any]) -> None:
    call = call_of(data)
    call["arguments"] = json.dumps({**json.loads(call["arguments"]), **changed})


# -- BFCL ------------------------------------------------------------------------------------------


def unknown_name(data: dict[str, Any]) -> None:
    call_of(data)["name"] += "_2"


def missing_required(data: dict[str, Any]) -> None:
    call = call_of(data)
    tool = next(tool for tool in data["tools"] if tool["name"] == call["name"])
    arguments = json.loads(call["arguments"])
    del arguments[tool["parameters"]["required"][0]]
    call["arguments"] = json.dumps(arguments)


def wrong_type(data: dict[str, Any]) -> None:
    call = call_of(data)
    tool = next(tool for tool in data["tools"] if tool["name"] == call["name"])
    name = tool["parameters"]["required"][0]
    wrong = 3 if tool["parameters"]["properties"][name]["type"] == "string" else "three"
    with_arguments(data, {name: wrong})


def extra_argument(data: dict[str, Any]) -> None:
    with_arguments(data, {"nobody_asked": 1})


def broken_json(data: dict[str, Any]) -> None:
    call_of(data)["arguments"] = call_of(data)["arguments"][:-1]


def answers(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn for turn in data["messages"] if turn["role"] == "tool"]


def unmatched_id(data: dict[str, Any]) -> None:
    answers(data)[-1]["tool_call_id"] = "call_nobody_made"


def unanswered_call(data: dict[str, Any]) -> None:
    data["messages"].remove(answers(data)[-1])


def answer_before_call(data: dict[str, Any]) -> None:
    turns = data["messages"]
    place = next(n for n, turn in enumerate(turns) if turn.get("tool_calls"))
    turns.insert(place, turns.pop(place + 1))


def empty_turn(data: dict[str, Any]) -> None:
    data["messages"][0]["content"] = " "


def unwanted_call(data: dict[str, Any]) -> None:
    data["expect"] = "none"


MUTATIONS = {
    unknown_name: "unknown tool",
    missing_required: "missing argument",
    wrong_type: "wrong type",
    extra_argument: "extra argument",
    broken_json: "broken arguments",
    unmatched_id: "unmatched id",
    unanswered_call: "unanswered call",
    answer_before_call: "early answer",
    empty_turn: "empty turn",
    unwanted_call: "call not expected",
}


@real
def test_gold_calls_of_bfcl_raise_no_alarm() -> None:
    rows = list(bfcl.conversations(every_argument=False))
    assert len(rows) == 800
    assert [found for row in rows if (found := found_in(row))] == []


@real
def test_with_every_optional_argument_two_gold_values_break_their_own_schema() -> None:
    rows = list(bfcl.conversations(every_argument=True))
    wrong = {call_of(row)["name"]: found for row in rows if (found := found_in(row))}
    # A venue of true where the schema says string, and a null where it says float.
    assert wrong == {
        "game_result.get_winner": ["wrong type", "wrong_type"],
        "math.power": ["wrong type", "wrong_type", "wrong_type"],
    }


@real
def test_rows_that_no_tool_fits_raise_no_alarm() -> None:
    rows = list(bfcl.irrelevant())
    assert len(rows) == 240
    assert [found for row in rows if (found := found_in(row))] == []


@real
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_every_planted_fault_is_found_with_its_reason(mutate: Any) -> None:
    reasons: Counter[str] = Counter()
    for row in bfcl.conversations(every_argument=False):
        planted = copy.deepcopy(row)
        call = call_of(planted)
        tool = next(tool for tool in planted["tools"] if tool["name"] == call["name"])
        # A tool without required arguments cannot lack one.
        if mutate in (missing_required, wrong_type) and not tool["parameters"].get("required"):
            continue
        mutate(planted)
        reasons[(found_in(planted) or ["nothing"])[0]] += 1
    assert set(reasons) == {MUTATIONS[mutate]}
    assert reasons.total() >= 790


# -- fault by fault --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"city": "Rome", "days": 3.0, "share": 1, "type": [1, "b"], "unit": "C"}, None),
        ({"city": "Rome", "days": 15}, "wrong value"),
        ({"city": "Rome", "unit": "K"}, "wrong value"),
        ({"city": "Rome", "type": 3}, "wrong type"),
        ({"city": "Rome", "share": "1"}, "wrong type"),
        ({"city": "Rome", "days": True}, "wrong type"),
        ({"city": "Rome", "Days": 1}, "extra argument"),
        ({}, "missing argument"),
        ({"city": "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9dE1fG3"}, "secret"),
    ],
)
def test_arguments_are_held_to_the_schema(arguments: dict[str, Any], fault: str | None) -> None:
    data = bfcl.conversation("?", [("weather", arguments)], [WEATHER])
    assert found_in(data)[:1] == ([fault] if fault else [])


def test_schemas_in_other_forms_are_one_tool() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": None}}}
    for tool in (
        {"type": "function", "function": {"name": "weather", "parameters": schema}},
        {"name": "weather", "input_schema": schema},
        {"name": "weather", "parameters": {**schema, "required": None}},
    ):
        for tools in ([tool], json.dumps([tool])):
            assert found_in({**PLAIN, "tools": tools}) == []
            data = bfcl.conversation("?", [("weather", {"town": "Rome"})], [])
            assert found_in({**data, "tools": tools})[0] == "extra argument"
    assert found_in({"messages": PLAIN["messages"], "functions": [WEATHER]}) == []
    assert found_in({"messages": PLAIN["messages"]})[0] == "unknown tool"


def test_schemas_that_say_more_are_followed() -> None:
    place = {"type": "object", "properties": {"city": {"type": "str"}}, "required": ["city"]}
    combined = {"allOf": [{"$ref": "#/$defs/place"}], "$defs": {"place": place}}
    cases = [
        (combined, {"city": "Rome"}, []),
        (combined, {"city": "Rome", "x": 1}, ["extra argument", "extra_argument"]),
        ({**place, "additionalProperties": True}, {"city": "Rome", "x": 1}, []),
        ({"type": "object", "properties": {"type": {"type": "float"}}}, {"type": 2}, []),
    ]
    for schema, arguments, expected in cases:
        tool = {"name": "weather", "parameters": schema}
        assert found_in(bfcl.conversation("?", [("weather", arguments)], [tool])) == expected


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"place": [1, "b"]}, None),
        ({"place": ["a", "b"]}, "wrong type"),
        ({"place": [1, "b", 3]}, "wrong type"),
        ({"place": [1], "x": 1}, "extra argument"),
        ({"place": [1], "share": 1}, "wrong value"),
        ({"place": [1], "share": 0.5}, "wrong value"),
        ({"place": [1], "share": 0.5, "unit": "C"}, None),
    ],
)
@pytest.mark.parametrize("draft", [None, "draft-04", "draft-07"])
def test_schemas_of_an_older_draft_are_checked_as_much(
    draft: str | None, arguments: dict[str, Any], fault: str | None
) -> None:
    place = {"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "string"}}
    share = {"type": "number", "maximum": 1, "exclusiveMaximum": True}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"place": place, "share": share, "unit": {"type": "string"}},
        "anyOf": [{"required": ["place"]}],
        "dependencies": {"share": ["unit"], "unit": {"required": ["place"]}},
    }
    if draft:
        schema["$schema"] = f"http://json-schema.org/{draft}/schema#"
    tool = {"name": "weather", "parameters": schema}
    found = found_in(bfcl.conversation("?", [("weather", arguments)], [tool]))
    assert found[:1] == ([fault] if fault else [])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"city": {"type": "wordy"}}},
        {"type": "object", "properties": []},
        {"type": "object", "required": "city"},
        {"type": "object", "properties": {"city": {"$ref": "https://127.0.0.1:1/schema.json"}}},
        {"type": "object", "properties": {"city": {"pattern": "("}}},
    ],
)
def test_a_schema_that_is_none_is_the_fault_and_nothing_is_fetched(schema: Any) -> None:
    tool = {"name": "weather", "parameters": schema}
    data = bfcl.conversation("?", [("weather", {"city": "Rome"})], [tool])
    assert found_in(data)[0] == "bad schema"


def test_a_tool_offered_twice_or_without_a_name() -> None:
    assert found_in({**PLAIN, "tools": [WEATHER, WEATHER]}) == ["bad schema", "bad_schema"]
    assert found_in({**PLAIN, "tools": [WEATHER, {"parameters": {}}]})[0] == "bad schema"
    with pytest.raises(ValueError, match="column 'tools' is text, and no JSON: 'weather'"):
        Tools().make(row_of({**PLAIN, "tools": "weather"}))


def ordered(letters: str, **parts: Any) -> dict[str, Any]:
    """Return turns: u, a; A a call c1, B calls c1 and c2; 1, 2 their answers; 0 one without id."""
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    turns: list[dict[str, Any]] = []
    for letter in letters:
        role = {"u": "user", "a": "assistant", "A": "assistant", "B": "assistant"}.get(letter)
        turn: dict[str, Any] = {"role": role or "tool", "content": "text"}
        if letter in "AB":
            calls = [{"id": f"c{n}", **call} for n in (1, 2)]
            turn = {"role": role, "content": None, "tool_calls": calls[: "AB".index(letter) + 1]}
        elif role is None and letter != "0":
            turn["tool_call_id"] = f"c{letter}"
        turns.append({**turn, **parts.get(letter, {})})
    return {"messages": turns, "tools": [WEATHER]}


@pytest.mark.parametrize(
    ("letters", "found"),
    [
        ("uA1a", []),
        ("uB12a", []),
        ("uA1aA1a", []),  # an id may come again in a later turn
        ("uA", []),  # the call is what is learnt
        ("uB", []),
        ("uB1", ["unanswered_call"]),
        ("uAa", ["unanswered_call"]),
        ("uAaA1a", ["unanswered_call"]),
        ("uB21a", ["out_of_order"]),
        ("uAu1a", ["out_of_order"]),
        ("uA11a", ["answered_twice"]),
        ("u1Aa", ["early_answer"]),
        ("uA2a", ["unmatched_id", "unanswered_call"]),
        ("uA0a", ["missing_id"]),
        ("uA10a", ["unmatched_id"]),
        ("ua0a", ["unmatched_id"]),
    ],
)
def test_calls_and_answers(letters: str, found: list[str]) -> None:
    assert sorted(found_in(ordered(letters))[1:]) == sorted(found)


def without_ids(
    data: dict[str, Any], *, calls: bool = True, results: bool = True
) -> dict[str, Any]:
    data = copy.deepcopy(data)
    for turn in data["messages"]:
        if results:
            turn.pop("tool_call_id", None)
        for call in turn.get("tool_calls", ()) if calls else ():
            del call["id"]
    return data


def test_without_any_ids_answers_follow_the_order_of_calls() -> None:
    assert found_in(without_ids(TWO)) == []
    assert found_in(without_ids(ordered("uB1a"))) == ["unanswered call", "unanswered_call"]
    assert found_in(without_ids(ordered("u1Aa")))[0] == "early answer"
    assert found_in(without_ids(TWO, results=False))[0] == "missing id"
    old = {"role": "assistant", "content": None}
    old["function_call"] = {"name": "weather", "arguments": '{"city": 3}'}
    turns = [PLAIN["messages"][0], old, {"role": "function", "name": "weather", "content": "no"}]
    data = {"messages": [*turns, PLAIN["messages"][-1]], "functions": [WEATHER]}
    assert found_in(data) == ["wrong type", "wrong_type"]


def test_two_calls_of_one_id_and_calls_that_are_none() -> None:
    twice = copy.deepcopy(TWO)
    for call in twice["messages"][1]["tool_calls"]:
        call["id"] = "c0"
    assert "repeated_id" in found_in(twice)
    broken = copy.deepcopy(PLAIN)
    broken["messages"][1]["tool_calls"][0]["function"] = {"arguments": "{}"}
    assert found_in(broken)[0] == "broken call"
    listed = copy.deepcopy(PLAIN)
    call_of(listed)["arguments"] = '["Rome"]'
    assert found_in(listed) == ["broken arguments", "broken_arguments"]
    call_of(listed)["arguments"] = '{"city": NaN}'
    assert found_in(listed) == ["broken arguments", "broken_arguments"]


def test_what_a_row_expects_goes_before_what_the_step_does() -> None:
    spoken = bfcl.conversation("Rain?", [], [WEATHER])
    assert found_in(spoken, expect="call") == ["no call", "no_call"]
    assert found_in({**spoken, "expect": "none"}, expect="call") == []
    assert found_in(PLAIN, expect="none")[0] == "call not expected"
    with pytest.raises(ValueError, match="column 'expect' holds 'maybe'; allowed are call, none"):
        Tools().make(row_of({**PLAIN, "expect": "maybe"}))


def test_only_the_faults_named_drop() -> None:
    data = copy.deepcopy(PLAIN)
    extra_argument(data)
    assert found_in(data, faults=("empty_turn",)) == []
    assert found_in(data, faults=("extra_argument",))[0] == "extra argument"
    with pytest.raises(ValueError, match="unknown fault 'typo'; allowed are empty_turn"):
        Tools(faults=("typo",)).check()


def test_the_side_that_may_be_wrong_is_not_checked() -> None:
    turns = row_of(PLAIN).fields["messages"]
    wrong = copy.deepcopy(PLAIN)
    unknown_name(wrong)
    bad = row_of(wrong).fields["messages"][1:]
    extra = json.dumps({"tools": [WEATHER]})
    pair = {"prompt": turns[:1], "chosen": turns[1:], "rejected": bad}
    good = Row(
        "1" * 32, (0,), "preference", {**pair, "margin": None, "p_chosen": None}, None, extra
    )
    assert Tools().make(good) is good
    swapped = good._replace(fields={**good.fields, "chosen": bad, "rejected": turns[1:]})
    assert isinstance(Tools().make(swapped), Drop)
    for label in (True, False, None):
        fields = {"prompt": turns[:1], "completion": bad, "label": label}
        row = Row("2" * 32, (0,), "unpaired", fields, None, extra)
        assert isinstance(Tools().make(row), Drop) == (label is not False)


# -- mending ids -----------------------------------------------------------------------------------


def mended(data: dict[str, Any]) -> list[Any] | None:
    """Return the ids of a mended row's turns, `None` where it was not mended."""
    made = Tools(repair="ids").make(row_of(data))
    if not isinstance(made, Made):
        return None
    ids: list[Any] = []
    for turn in made.record.fields["messages"]:
        beside = json.loads(turn.parts or "{}")
        if "tool_calls" in beside:
            ids.append([call.get("id") for call in beside["tool_calls"]])
        elif "tool_call_id" in beside:
            ids.append(beside["tool_call_id"])
    return ids


def test_ids_are_mended_where_one_pairing_is_possible() -> None:
    assert mended(ordered("uA0a")) == [["c1"], "c1"]
    assert mended(ordered("uA2a")) == [["c1"], "c1"]
    assert mended(ordered("uB00a")) == [["c1", "c2"], "c1", "c2"]
    assert mended(ordered("uB10a")) == [["c1", "c2"], "c1", "c2"]
    assert mended(without_ids(PLAIN, results=False)) == [["c0"], "c0"]
    assert mended(ordered("uA0aA0a")) == [["c1"], "c1", ["c1"], "c1"]


@pytest.mark.parametrize(
    "data",
    [
        ordered("uB0a"),  # two calls, one answer: which?
        ordered("uB34a"),  # two answers with foreign ids
        ordered("uAa"),
        ordered("uB02a", **{"0": {"name": "other"}}),  # it says that it answers another tool
        ordered("u1Aa"),
        without_ids(TWO, results=False),
    ],
)
def test_what_is_ambiguous_is_dropped_as_it_would_be_without_repair(data: dict[str, Any]) -> None:
    row = row_of(data)
    found = Tools(repair="ids").make(row)
    assert isinstance(found, Drop)
    assert found == Tools().make(row)


def test_what_needs_no_mending_passes_as_it_is() -> None:
    for data in (PLAIN, TWO, without_ids(TWO), bfcl.conversation("Hi", [], [])):
        row = row_of(data)
        assert Tools(repair="ids").make(row) is row


@settings(deadline=None)
@given(st.text("uaAB0123", max_size=8))
def test_a_mended_row_has_no_fault_left(letters: str) -> None:
    made = Tools(repair="ids").make(row_of(ordered("u" + letters)))
    if isinstance(made, Made):
        again = Row("3" * 32, (0,), "sft", made.record.fields, None, made.record.extra)
        assert Tools().make(again) is again
        texts = [turn.text for turn in row_of(ordered("u" + letters)).messages]
        assert [turn.text for turn in again.messages] == texts


# -- in a run --------------------------------------------------------------------------------------


def test_a_run_says_why_each_row_went(tmp_path: Any) -> None:
    rows = [copy.deepcopy(PLAIN) for _ in MUTATIONS]
    for row, mutate in zip(rows, MUTATIONS, strict=True):
        mutate(row)
    loose = ordered("uA0a")
    result = Pipeline([Tools(repair="ids")]).run([PLAIN, *rows, loose], run=tmp_path / "run")
    step = result.summary["steps"][0]
    # The id of a single answer is mended.
    assert step["reasons"] == dict.fromkeys(set(MUTATIONS.values()) - {"unmatched id"}, 1)
    assert len(result.kept) == 3
    assert step["used"] == 2
    kept = [json.dumps(row) for row in result.kept.to_list()]
    assert sum('"tool_call_id": "c1"' in row for row in kept) == 1


def test_the_docstring_names_what_the_list_has() -> None:
    assert len(set(FAULTS)) == len(FAULTS)
    assert set(MUTATIONS.values()) <= {name.replace("_", " ") for name in FAULTS}
