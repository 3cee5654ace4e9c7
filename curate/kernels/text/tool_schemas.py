"""Tool schemas of a row, as validators of a call's arguments.

Schemas in the wild name types as their authors' languages do: BFCL writes `dict`, `float` and
`tuple`, where JSON Schema knows `object`, `number` and `array`. They are translated where a schema
may stand and nowhere else, so that an argument called `type` stays one. A reference that leads out
of the schema is not followed: nothing is fetched for the sake of a row.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from curate.row import TOOLS

# Names of types that JSON Schema lacks, in lower case: Python's, and those of BFCL's Java and
# JavaScript rows. A type that allows everything is left out.
_TYPES = {
    **dict.fromkeys(["dict", "map", "hashmap", "hashtable", "record"], "object"),
    **dict.fromkeys(["float", "double", "decimal"], "number"),
    **dict.fromkeys(["int", "long", "short", "byte", "bigint"], "integer"),
    **dict.fromkeys(["tuple", "list", "set", "arraylist", "queue", "stack"], "array"),
    **dict.fromkeys(["str", "char", "text"], "string"),
    **dict.fromkeys(["bool"], "boolean"),
    **dict.fromkeys(["none", "nonetype"], "null"),
    "any": None,
}
_KNOWN = frozenset(["object", "number", "integer", "array", "string", "boolean", "null"])
# Where a schema holds others: one, a list of them, or an object of them by name.
_ONE = frozenset(
    [
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_LISTS = frozenset(["allOf", "anyOf", "oneOf", "prefixItems"])
_NAMED = frozenset(["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"])
_COMBINED = frozenset(["$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"])
# What is wrong with arguments, by the keyword of the schema that they break.
_FAULTS = {
    "required": "missing_argument",
    "type": "wrong_type",
    "additionalProperties": "extra_argument",
    "unevaluatedProperties": "extra_argument",
}


class Misfit(NamedTuple):
    """One way in which arguments do not fit their schema: a fault, and what was found where."""

    fault: str
    found: str


class Tool:
    """A tool that a model is offered; `error` says why its schema is none."""

    def __init__(self, name: str, parameters: Any) -> None:
        import jsonschema
        from referencing import Registry

        self.name, self.error = name, ""
        try:
            schema = _closed(json_schema({} if parameters is None else parameters))
            kind = jsonschema.validators.validator_for(
                schema, default=jsonschema.Draft202012Validator
            )
            kind.check_schema(schema)
            self._validator = kind(schema, registry=Registry())
        except jsonschema.SchemaError as error:
            self.error = f"at {error.json_path}: {error.message:.120}"
        except (TypeError, ValueError, RecursionError) as error:
            self.error = f"{error!s:.120}"

    def misfits(self, arguments: Mapping[str, Any]) -> list[Misfit]:
        """Return all that is wrong with `arguments`, in a fixed order.

        Raises:
            ValueError: the schema cannot be applied (a reference leads nowhere, a bad pattern).
        """
        try:
            errors = sorted(
                self._validator.iter_errors(arguments), key=lambda e: (e.json_path, e.message)
            )
        except Exception as error:  # `referencing` and `re` have roots of their own.
            raise ValueError(f"the schema of '{self.name}' cannot be applied: {error}") from error
        return [
            Misfit(_FAULTS.get(str(e.validator), "wrong_value"), f"{e.json_path}: {e.message:.120}")
            for e in errors
        ]


def offered(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tools in a row's extra columns, each as JSON text, in order."""
    found: list[str] = []
    for column in TOOLS:
        value = extra.get(column)
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else None
            except ValueError:
                raise ValueError(
                    f"column '{column}' is text, and no JSON: {value!r:.60}"
                ) from None
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, list | None):
            raise ValueError(f"column '{column}' must list tools, found {value!r:.60}")
        found += (json.dumps(tool, ensure_ascii=False, sort_keys=True) for tool in value or ())
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def tool_of(text: str) -> Tool:
    """Return a tool from its JSON text: OpenAI's form, bare, or with Anthropic's `input_schema`."""
    data = json.loads(text)
    if isinstance(data, dict) and isinstance(data.get("function"), dict):
        data = data["function"]
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        tool = Tool("", {})
        tool.error = f"a tool must be an object with a name, found {text[:80]}"
        return tool
    keys = ("parameters", "input_schema", "inputSchema")
    return Tool(data["name"], next((data[key] for key in keys if data.get(key) is not None), None))


def json_schema(schema: Any) -> Any:
    """Return a schema in JSON Schema's own words, without the nulls that tables add."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping):
        raise TypeError(f"a schema must be an object, found {schema!r:.60}")
    return dict(_translated(schema))


def _translated(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if value is None and key != "const":
            continue
        if key == "type":
            names = value if isinstance(value, list) else [value]
            types = [name if name in _KNOWN else _type(name) for name in names]
            if None not in types:
                own = list(dict.fromkeys(types))
                yield key, own if isinstance(value, list) else own[0]
        elif key == "items" and isinstance(value, list):
            yield "prefixItems", [json_schema(item) for item in value]
        elif key in _ONE:
            yield key, json_schema(value)
        elif key in _LISTS and isinstance(value, list):
            yield key, [json_schema(item) for item in value]
        elif key in _NAMED and isinstance(value, Mapping):
            yield key, {n: json_schema(own) for n, own in value.items() if own is not None}
        elif key == "required" and isinstance(value, bool):
            # Draft 3, and many hand-written schemas, mark the argument itself; its parent decides.
            continue
        else:
            yield key, value


def _type(name: Any) -> str | None:
    if not isinstance(name, str) or name.lower() not in {**_TYPES, **dict.fromkeys(_KNOWN)}:
        allowed = ", ".join(sorted(_KNOWN | set(_TYPES)))
        raise ValueError(f"unknown type {name!r:.40}; known are {allowed}")
    return _TYPES.get(name.lower(), name.lower())


def _closed(schema: Any) -> Any:
    """Refuse arguments that the schema does not name, unless it says that others are welcome."""
    if not isinstance(schema, dict) or {"additionalProperties", "unevaluatedProperties"} & set(
        schema
    ):
        return schema
    word = "unevaluatedProperties" if _COMBINED & set(schema) else "additionalProperties"
    return {"type": "object", **schema, word: False}
