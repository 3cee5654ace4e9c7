"""OpenAI's published rules of fine-tuning files, as a schema, hold for every row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.row import Message
from curate.write import as_shape
from tests.write.formats.consumers import exported, lines
from tests.write.rows import GOOD, USER, row

jsonschema = pytest.importorskip("jsonschema")

# OpenAI, API reference, "Chat completion training format" and "Preference training format", and the
# format checks of its cookbook ("Data preparation and analysis for chat model fine-tuning"): a
# message has these keys and no others, the content is text unless it calls a tool, a weight is 0
# or 1, and an example has an answer.
CALL = {
    "type": "object",
    "required": ["id", "type", "function"],
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "required": ["name", "arguments"],
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
        },
    },
}
TURN = {
    "type": "object",
    "required": ["role"],
    "additionalProperties": False,
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
        "content": {"type": ["string", "array", "null"]},
        "name": {"type": "string"},
        "weight": {"enum": [0, 1]},
        "refusal": {"type": ["string", "null"]},
        "tool_calls": {"type": "array", "minItems": 1, "items": CALL},
        "function_call": {"type": "object"},
        "tool_call_id": {"type": "string"},
    },
    "if": {"properties": {"role": {"const": "assistant"}}},
    "then": {
        "anyOf": [
            {
                "properties": {"content": {"type": "string"}},
                "required": ["content"],
            },
            {"required": ["tool_calls"]},
            {"required": ["function_call"]},
            {"required": ["refusal"]},
        ]
    },
    "else": {"properties": {"content": {"type": ["string", "array"]}}, "required": ["content"]},
}
TURNS = {"type": "array", "minItems": 1, "items": TURN}
BESIDE = {"tools": {"type": "array"}, "parallel_tool_calls": {"type": "boolean"}}
ANSWER = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {"allOf": [TURN, {"properties": {"role": {"const": "assistant"}}}]},
}
CHAT = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {
            **TURNS,
            "contains": {"properties": {"role": {"const": "assistant"}}},
        },
        "functions": {"type": "array"},
        **BESIDE,
    },
}
PREFERENCE = {
    "type": "object",
    "required": ["input", "preferred_output", "non_preferred_output"],
    "additionalProperties": False,
    "properties": {
        "input": {
            "type": "object",
            "required": ["messages"],
            "additionalProperties": False,
            "properties": {"messages": TURNS, **BESIDE},
        },
        "preferred_output": ANSWER,
        "non_preferred_output": ANSWER,
    },
}


def check(record: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(record)


@pytest.mark.parametrize(
    ("name", "kind", "schema"),
    [("openai_chat", "sft", CHAT), ("openai_dpo", "preference", PREFERENCE)],
)
def test_every_row_keeps_the_rules(
    name: str, kind: str, schema: dict[str, Any], tmp_path: Path
) -> None:
    records = lines(exported(name, kind, tmp_path))
    assert len(records) > 1
    for record in records:
        check(record, schema)


def test_tool_calls_keep_the_rules() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    turns = (
        *USER,
        Message("assistant", "", json.dumps({"content": None, "tool_calls": [call]})),
        Message("tool", "4", '{"tool_call_id":"1"}'),
        *GOOD,
    )
    check(as_shape(row("sft", messages=turns), "openai_chat"), CHAT)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "q"}]},
        {"messages": [{"role": "assistant"}]},
        {"messages": [{"role": "assistant", "content": "a", "from": "bing"}]},
        {"messages": [{"role": "assistant", "content": "a"}], "id": 1},
        {"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]},
    ],
)
def test_the_schema_refuses_what_openai_refuses(record: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(record, CHAT)
