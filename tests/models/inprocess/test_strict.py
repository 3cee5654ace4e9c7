"""Schemas as strict mode wants them: what fits the strict form fits the schema it was made of."""

from __future__ import annotations

from typing import Any

import pytest

from curate.models.inprocess.strict import strict_form

CLOSED = {"required": ["name"], "additionalProperties": False}
TEXT = {"type": "string"}


def test_every_object_is_closed_and_asks_for_all_its_properties() -> None:
    inner = {"type": "object", "properties": {"name": TEXT}}
    schema = {
        "type": "object",
        "properties": {
            "one": inner,
            "many": {"type": "array", "items": inner},
            "either": {"anyOf": [inner, {"type": "null"}], "default": None},
        },
        "required": ["one"],
    }
    closed = {**inner, **CLOSED}
    assert strict_form(schema) == (
        {
            "type": "object",
            "properties": {
                "one": closed,
                "many": {"type": "array", "items": closed},
                "either": {"anyOf": [closed, {"type": "null"}]},
            },
            "required": ["one", "many", "either"],
            "additionalProperties": False,
        },
        True,
    )
    assert schema["required"] == ["one"], "what was given is left as it was"


def test_properties_may_be_called_like_keywords() -> None:
    names = ("properties", "type", "$ref", "default", "items")
    schema = {"type": "object", "properties": dict.fromkeys(names, TEXT)}
    made, strict = strict_form(schema)
    assert strict and made["properties"] == schema["properties"]
    assert made["required"] == list(names)


def test_a_pydantic_model_is_strict() -> None:
    pydantic = pytest.importorskip("pydantic")
    point: Any = pydantic.create_model("Point", x=(int, 0), label=(str | None, None))
    line: Any = pydantic.create_model(
        "Line", ends=(list[point], ...), middle=(point, pydantic.Field(description="between"))
    )
    made, strict = strict_form(line.model_json_schema())
    assert strict
    assert made["properties"]["middle"] == {"$ref": "#/$defs/Point"}
    assert made["$defs"]["Point"]["required"] == ["x", "label"]
    assert made["$defs"]["Point"]["additionalProperties"] is False
    assert "default" not in made["$defs"]["Point"]["properties"]["x"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "object"}}},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
        {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        {"$defs": {"Tree": {"type": "object", "properties": {}}}, "$ref": "#/$defs/Tree"},
    ],
)
def test_what_is_open_stays_as_it_is(schema: dict[str, Any]) -> None:
    assert strict_form(schema) == (schema, False)
