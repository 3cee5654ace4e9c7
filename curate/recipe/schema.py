"""The JSON Schema of recipes, generated from the operators found, for editors and checks."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from curate.recipe import catalog
from curate.recipe.fields import default_of, plain, types_of
from curate.row import KINDS
from curate.step import Step

_SCALARS: Mapping[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
}
_ANSWERER = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "required": ["model"], "properties": {"model": {"type": "string"}}},
    ]
}
_OUTPUT = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "required": ["path"],
            "properties": {"path": {"type": "string"}, "shape": {"type": "string"}},
        },
    ]
}
_COLUMN = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}
_SOURCE = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": {"type": "string"},
                "shape": {"type": "string"},
                "columns": {"type": "object", "additionalProperties": _COLUMN},
            },
        },
        {
            "type": "object",
            "required": ["count"],
            "properties": {"count": {"type": "integer", "minimum": 1}},
            "additionalProperties": False,
        },
    ]
}


# A step from a file of the user's, whose fields are not known here.
_STEP_FILES = (
    {"type": "string", "pattern": r"\.py:\w+$"},
    {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "patternProperties": {r"\.py:\w+$": {"type": ["object", "null"]}},
        "additionalProperties": False,
    },
)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe with every operator that is installed."""
    steps = [_step_schemas(cls) for cls in catalog.usable()[0]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A curate recipe",
        "type": "object",
        "required": ["steps"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": ["string", "null"]},
            "inputs": {"anyOf": [{"type": ["string", "null"]}, _mapping(_SOURCE)]},
            "models": _mapping(_ANSWERER),
            "encoders": _mapping(_ANSWERER),
            "steps": {
                "type": "array",
                "items": {"anyOf": [*_STEP_FILES, *(schema for pair in steps for schema in pair)]},
            },
            "outputs": {**_mapping(_OUTPUT), "propertyNames": {"enum": list(KINDS)}},
            "seed": {"type": "integer", "default": 0},
        },
    }


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": dict(values)}


def _step_schemas(cls: type[Step]) -> list[dict[str, Any]]:
    """Return the ways to write a step: with its fields, and alone where it needs none."""
    docs, hints = catalog.FieldDocs(cls), types_of(cls)
    properties, required = {}, []
    for item in dataclasses.fields(cls):
        schema = type_schema(hints[item.name])
        default = default_of(item)
        if default is dataclasses.MISSING:
            required.append(item.name)
        else:
            schema["default"] = plain(default)
        if docs[item.name]:
            schema["description"] = docs[item.name]
        properties[item.name] = schema
    fields: dict[str, Any] = {
        "type": "object" if required else ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        fields["required"] = required
    full = {
        "type": "object",
        "description": catalog.summary_of(cls),
        "required": [cls.name],
        "additionalProperties": False,
        "properties": {cls.name: fields},
    }
    return [full] if required else [full, {"const": cls.name}]


def type_schema(type_: Any) -> dict[str, Any]:
    """Return the schema of one annotation, the same values that `fields.fit` accepts."""
    origin, arguments = get_origin(type_) or type_, get_args(type_)
    if origin in (Union, types.UnionType):
        return {"anyOf": [type_schema(member) for member in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in _SCALARS:
        return {"type": _SCALARS[origin]}
    if origin in (list, tuple, Sequence):
        if len(arguments) > 1 and arguments[-1] is not Ellipsis:
            items = [type_schema(member) for member in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
        array = {"type": "array", "items": type_schema(arguments[0]) if arguments else {}}
        # One text means a list of one, as in `fields.fit`.
        return {"anyOf": [array, {"type": "string"}]} if arguments[:1] == (str,) else array
    if origin in (dict, Mapping):
        values = type_schema(arguments[1]) if len(arguments) > 1 else {}
        return {"type": "object", "additionalProperties": values}
    return {}
