"""Whether JSON data fit a JSON Schema: the part of the language that prompts use, and no more.

A keyword that is not known here is refused when the prompt is loaded, because passing over it would
accept replies that the author of the schema meant to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_LIMITS = ("minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength")
_PROSE = ("title", "description", "$schema", "default", "examples")
_KNOWN = (
    "type", "properties", "required", "additionalProperties", "enum", "items", *_LIMITS, *_PROSE
)  # fmt: skip


def check_schema(schema: Any, where: str = "the schema") -> None:
    """Raise `ValueError` when `schema` says more than `check_value` understands."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"{where} must be a mapping, found {schema!r}")
    unknown = [key for key in schema if key not in _KNOWN]
    if unknown:
        raise ValueError(f"{where} has the keywords {unknown}; known are: {', '.join(_KNOWN)}")
    for name in _types(schema):
        if name not in _TYPES:
            raise ValueError(f"{where} has the type {name!r}; allowed: {', '.join(_TYPES)}")
    if schema.get("additionalProperties", True) not in (True, False):
        raise ValueError(f"{where}: additionalProperties must be true or false")
    for name, inner in schema.get("properties", {}).items():
        check_schema(inner, f"{where}, property '{name}'")
    if "items" in schema:
        check_schema(schema["items"], f"{where}, items")


def check_value(value: Any, schema: Mapping[str, Any], where: str = "the reply") -> None:
    """Raise `ValueError`, saying where and what, when `value` does not fit `schema`."""
    types = _types(schema)
    if types and not any(_is(value, name) for name in types):
        raise ValueError(f"{where} is {_short(value)}; it must be of type {' or '.join(types)}")
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        raise ValueError(f"{where} is {_short(value)}; allowed: {schema['enum']}")
    _check_limits(value, schema, where)
    if isinstance(value, dict):
        _check_object(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            check_value(item, schema["items"], f"{where}, item {number}")


def _types(schema: Mapping[str, Any]) -> list[str]:
    given = schema.get("type", [])
    return [given] if isinstance(given, str) else list(given)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    # 8.0 is an integer to JSON Schema, where numbers have no types of their own.
    whole = name == "integer" and isinstance(value, float) and value.is_integer()
    return whole or isinstance(value, _TYPES[name])


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _check_limits(value: Any, schema: Mapping[str, Any], where: str) -> None:
    for keyword in _LIMITS:
        if keyword not in schema:
            continue
        size = _size(value, keyword)
        if size is None:
            continue
        bad = size < schema[keyword] if keyword.startswith("min") else size > schema[keyword]
        if bad or not math.isfinite(size):
            raise ValueError(f"{where} is {_short(value)}; its {keyword} is {schema[keyword]}")


def _size(value: Any, keyword: str) -> float | None:
    """Return what a limit counts, or `None` where it says nothing about such a value."""
    if keyword.endswith("imum"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number else None
    return len(value) if isinstance(value, list if "Items" in keyword else str) else None


def _check_object(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        raise ValueError(f"{where} lacks {missing}")
    unknown = [name for name in value if name not in properties]
    if unknown and schema.get("additionalProperties", True) is False:
        raise ValueError(f"{where} has {unknown}; allowed: {list(properties)}")
    for name, inner in properties.items():
        if name in value:
            check_value(value[name], inner, f"{where}, '{name}'")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
