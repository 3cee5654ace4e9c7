"""A JSON Schema as OpenAI's strict mode wants it, where that says the same.

Strict mode holds a reply to its schema for certain, and refuses schemas that leave something open:
each object must require all its properties and allow no others, and pydantic writes neither for a
plain model (https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas"). What
fits the form made here fits the schema it was made of, so whoever asked can check against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_NAME = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "prefixItems")


class _Open(Exception):
    """Say that a schema leaves something open that strict mode wants closed."""


def strict_form(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the strict form of `schema`, or `schema` itself and `False` where it has none."""
    try:
        return _closed(schema), True
    except _Open:
        return dict(schema), False


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        if "$defs" in schema:
            raise _Open  # The whole of a schema must not be a reference.
        return {"$ref": schema["$ref"]}  # Nor may a title or a default stand beside one.
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _BY_NAME and isinstance(value, Mapping):
            made[name] = {own: _closed(one) for own, one in value.items()}
        elif name in _LISTS and isinstance(value, list | tuple):
            made[name] = [_closed(one) for one in value]
        elif name != "default":
            made[name] = _closed(value) if name == "items" else value
    if made.get("type") == "object" or "properties" in made:
        if "properties" not in made or schema.get("additionalProperties", False) is not False:
            raise _Open
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made
