"""Conversations of schemas: drawn evenly, checked, and with rows that no tool fits."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import RecipeError
from curate.kernels.text.tool_schemas import tool_of
from curate.steps import ToolCalls, Tools
from tests.steps.verify.skilled import run

HEIGHT = {
    "name": "get_height",
    "description": "Return the height of a mountain.",
    "parameters": {
        "type": "object",
        "properties": {"mountain": {"type": "string"}},
        "required": ["mountain"],
    },
}
OTHERS = [
    {"type": "function", "function": {"name": f"tool_{n}", "parameters": {"type": "object"}}}
    for n in range(4)
]
ASKED = '{"question": "How high is Mount Fuji?", "arguments": {"mountain": "Mount Fuji"}}'
EMPTY = '{"question": "Do it.", "arguments": {}}'
LINES = [
    {"when": {"contains": ["calls this tool once", "get_height"]}, "reply": ASKED},
    {"when": {"contains": "calls this tool once"}, "reply": EMPTY},
    {"when": {"contains": "You stand in"}, "reply": '```json\n{"height_m": 3776}\n```'},
    {"when": {"contains": "it returned"}, "reply": "It is 3,776 metres high."},
    {"when": {"contains": "none of them can"}, "reply": "I cannot do that here."},
]


def setup(path: Path, lines: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    tools, script = path / "tools.jsonl", path / "m.jsonl"
    tools.write_text("".join(f"{json.dumps(tool)}\n" for tool in (HEIGHT, *OTHERS)))
    script.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(tools), {"model": f"scripted:{script}", "max_tokens": 64}


def blank(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"topic {n}"} for n in range(count)]


def test_every_row_is_one_that_the_filter_accepts(tmp_path: Path) -> None:
    tools, model = setup(tmp_path, LINES)
    steps = [ToolCalls(model="m", tools=tools, none=0.5), Tools()]
    result = run(steps, blank(40), tmp_path, model)
    summary = result.summary
    assert (summary["kept"], summary["dropped"], summary["failed"]) == (40, 0, 0)
    rows = result.kept.to_list()
    fitting = [row for row in rows if row["expect"] == "call"]
    assert 10 < len(fitting) < 30
    assert summary["requests"]["sent"] == 3 * len(fitting) + 2 * (40 - len(fitting))
    for row in rows:
        names = [tool["function"]["name"] for tool in row["tools"]]
        assert len(set(names)) == len(names) == 3
        if row["expect"] == "none":
            assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
            continue
        user, call, answer, said = row["messages"]
        function = call["tool_calls"][0]["function"]
        assert function["name"] in names
        assert answer == {
            "role": "tool",
            "content": '{"height_m": 3776}',
            "tool_call_id": "call_1",
        }
        assert said["content"] == "It is 3,776 metres high."
        if function["name"] == "get_height":
            assert user["content"] == "How high is Mount Fuji?"
            assert json.loads(function["arguments"]) == {"mountain": "Mount Fuji"}
    # The place of the right tool says nothing.
    places = {
        [tool["function"]["name"] for tool in row["tools"]].index(
            row["messages"][1]["tool_calls"][0]["function"]["name"]
        )
        for row in fitting
    }
    assert places == {0, 1, 2}
    # Where no tool fits, the one that the question is about is not offered.
    assert not any(
        "get_height" in str(row["tools"])
        for row in rows
        if row["expect"] == "none" and "Fuji" in row["messages"][0]["content"]
    )
    again = run(steps, blank(40), tmp_path, model, "again")
    assert again.summary["requests"]["sent"] == 0
    assert again.kept.to_list() == rows


def test_a_topic_is_what_the_user_has_in_mind(tmp_path: Path) -> None:
    lines = [{"when": {"contains": ["in mind: hiking"]}, "reply": ASKED}, *LINES]
    tools, model = setup(tmp_path, lines)
    step = ToolCalls(model="m", tools=tools, offered=1, none=0.0, results=False)
    path = Path(tools)
    path.write_text(json.dumps(HEIGHT) + "\n")
    [row] = run([step], [{"prompt": "hiking"}], tmp_path, model).kept.to_list()
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
    assert row["tools"] == [{"type": "function", "function": HEIGHT}]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"question": "How high?", "arguments": {}}', "'mountain' is a required property"),
        ('{"question": "How high?", "arguments": {"mountain": 3}}', "not of type 'string'"),
        ('{"question": " ", "arguments": {"mountain": "x"}}', "the question is empty"),
        ("How high is it?", "object"),
        ("How high?\nArguments: {]", "Expecting"),
    ],
)
def test_what_does_not_fit_is_told_once_and_then_fails(bad: str, said: str, tmp_path: Path) -> None:
    for repaired in (True, False):
        path = tmp_path / str(repaired)
        path.mkdir()
        again = [{"when": {"contains": said}, "reply": ASKED}] if repaired else []
        tools, model = setup(
            path, [*again, {"when": {"contains": "calls this tool"}, "reply": bad}, *LINES]
        )
        Path(tools).write_text(json.dumps(HEIGHT) + "\n")
        step = ToolCalls(model="m", tools=tools, offered=1, none=0.0)
        result = run([step], [{"prompt": "x"}], path, model)
        if repaired:
            assert result.summary["kept"] == 1
            continue
        assert result.summary["failed"] == 1
        assert said in result.failed.to_list()[0]["error"]


@pytest.mark.parametrize("repairs", [0, 2])
def test_an_estimate_counts_question_result_and_answer(repairs: int, tmp_path: Path) -> None:
    """It stopped at the first request: no text that stood for its reply held arguments."""
    tools, model = setup(tmp_path, LINES)
    steps = [ToolCalls(model="m", tools=tools, none=0.25, repairs=repairs), Tools()]
    pipeline = Pipeline(steps, models={"m": model})
    places = {"run": tmp_path / "dry", "store": tmp_path / "store"}
    dry = pipeline.run(blank(40), **places, dry_run=True).summary["estimate"]
    result = run(steps, blank(40), tmp_path, model)
    sent = result.summary["requests"]["sent"]
    assert 2 * 40 < sent < 3 * 40
    assert dry["requests"] == sent
    assert dry["ends_at"] is None
    # What stands in for replies is not part of a request.
    assert result.summary["estimate"]["requests"] == sent


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (HEIGHT["parameters"], {"mountain": "text"}),
        ({"type": "dict", "properties": {"x": {"type": "float", "minimum": 3}}, "required": ["x"]},
         {"x": 3}),
        ({"properties": {"a": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
                         "b": {"enum": ["in", "out"]}, "c": {"const": None}, "d": {"default": 4}},
          "required": ["a", "b", "c", "d"]}, {"a": [True, True], "b": "in", "c": None, "d": 4}),
        ({"properties": {"o": {"properties": {"n": {"type": ["integer", "null"]}},
                               "required": ["n"]}}, "required": ["o"]}, {"o": {"n": 1}}),
        ({"properties": {"u": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
          "required": ["u"]}, {"u": 1}),
        ({}, {}),
        # None come to mind: the estimate ends with the first request, as for any unread reply.
        ({"properties": {"s": {"type": "string", "pattern": "^[0-9]{5}$"}}, "required": ["s"]},
         None),
        ({"properties": {"a": {"type": "array", "minItems": 10**12}}, "required": ["a"]}, None),
        # Lists in lists in lists would be 8 to the power of 12.
        ({"properties": {"a": functools.reduce(
            lambda inner, _: {"type": "array", "minItems": 8, "items": inner}, range(12), {})},
          "required": ["a"]}, None),
        ({"properties": {"a": {"type": "array", "minItems": 2, "items":
            {"type": "array", "minItems": 3}}}, "required": ["a"]}, {"a": [["text"] * 3] * 2}),
        ({"properties": {"r": {"$ref": "#/$defs/n"}}, "required": ["r"],
          "$defs": {"n": {"type": "integer"}}}, None),
    ],
)  # fmt: skip
def test_arguments_that_fit_a_schema(parameters: Any, expected: Any) -> None:
    assert tool_of(json.dumps({"name": "f", "parameters": parameters})).fitting() == expected


def test_small_models_complete_lines(tmp_path: Path) -> None:
    shown = f"Tool: {json.dumps(HEIGHT)}\nQuestion:"
    asked = ' How high is K2?\nArguments: {"mountain": "K2"}'
    lines = [
        {"when": {"contains": shown}, "reply": asked},
        {"when": {"contains": "Result:\nAnswer:"}, "reply": "never"},
        {"when": {"contains": "Answer:"}, "reply": " K2 is high."},
        {"when": {"contains": "Call:"}, "reply": ' {"height_m": 8611}'},
    ]
    tools, model = setup(tmp_path, lines)
    Path(tools).write_text(json.dumps(HEIGHT) + "\n")
    step = ToolCalls(
        model="m",
        tools=tools,
        offered=1,
        none=0.0,
        prompt="tool_calls_brief",
        result_prompt="tool_result_brief",
        answer_prompt="tool_answer_brief",
        none_prompt="no_tool_brief",
        complete=True,
    )
    result = run([step, Tools()], [{"prompt": "x"}], tmp_path, model)
    [row] = result.kept.to_list()
    assert [turn["content"] for turn in row["messages"]] == [
        "How high is K2?",
        None,
        '{"height_m": 8611}',
        "K2 is high.",
    ]


OWN = """---
name: own
version: 1
source: a test
variables: [tool]
schema:
  type: object
  properties:
    question: {type: string}
    arguments: {type: object}
    why: {type: string}
  required: [question, arguments, why]
---
An assistant calls this tool once: {{ tool }}
"""


def test_replies_are_read_by_the_schema_of_the_prompt_that_is_named(tmp_path: Path) -> None:
    tools, model = setup(tmp_path, [])
    Path(tools).write_text(json.dumps(HEIGHT) + "\n")
    prompt, script = tmp_path / "own.md", tmp_path / "m.jsonl"
    prompt.write_text(OWN)
    step = ToolCalls(
        model="m", tools=tools, offered=1, none=0.0, results=False, prompt=str(prompt), repairs=0
    )
    for name, more, failed in (("with", {"why": "It is known."}, 0), ("without", {}, 1)):
        reply = json.dumps({**json.loads(ASKED), **more})
        script.write_text(json.dumps({"when": {"contains": "calls this tool"}, "reply": reply}))
        result = run([step], [{"prompt": name}], tmp_path, model, name)
        assert result.summary["failed"] == failed
    assert "the reply lacks ['why']" in result.failed.to_list()[0]["error"]


@pytest.mark.parametrize(
    ("which", "required", "said"),
    [
        ("prompt", "[question]", "must require 'question' and 'arguments'"),
        ("answer_prompt", "[question, arguments]", "answer_prompt is for a text"),
    ],
)
def test_a_schema_that_is_not_read_is_refused(
    which: str, required: str, said: str, tmp_path: Path
) -> None:
    tools, _ = setup(tmp_path, [])
    prompt = tmp_path / "own.md"
    prompt.write_text(OWN.replace("[question, arguments, why]", required))
    if which != "prompt":
        prompt.write_text(prompt.read_text().replace("[tool]", "[question, result]").replace(
            "{{ tool }}", "{{ question }} {{ result }}"))  # fmt: skip
    step = ToolCalls(model="m", tools=tools, **{which: str(prompt)})
    with pytest.raises(ValueError, match=said):
        step.prepare()


def test_files_that_hold_no_tools_are_refused(tmp_path: Path) -> None:
    for text, said in (
        ('{"x": 1}\n', "is not a tool"),
        (f"{json.dumps(HEIGHT)}\n{json.dumps(HEIGHT)}\n", "there twice"),
        (f"{json.dumps(HEIGHT)}\n", "has 1 tools"),
        ('{"name": "f", "parameters": {"type": "nothing"}}\n', "unknown type"),
    ):
        path = tmp_path / "t.jsonl"
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            ToolCalls(model="m", tools=str(path)).prepare()
        path.unlink()
    with pytest.raises(ValueError, match="nowhere"):
        ToolCalls(model="m", tools=str(tmp_path / "nowhere.jsonl")).prepare()


@pytest.mark.parametrize(
    "fields", [{"tools": None}, {"offered": 0}, {"none": 1.5}, {"repairs": -1}, {"max_tokens": 0}]
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, RecipeError), match=next(iter(fields))):
        Pipeline([ToolCalls(model="m", **{"tools": "t.jsonl", **fields})], models={"m": "local"})
