"""Tool schemas of a row, as validators of a call's arguments.

Schemas in the wild name types as their authors' languages do: BFCL writes `dict`, `float` and
`tuple`, where JSON Schema knows `object`, `number` and `array`. They are translated where a schema
may stand and nowhere else, so that an argument called `type` stays one; so are the words of older
drafts, and what comes of it is JSON Schema 2020-12, whatever `$schema` says. A reference that leads
out of the schema is not followed: nothing is fetched for the sake of a row.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.row import TOOLS

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

# JSON Schema's types, and names that it lacks: Python's, and those of BFCL's Java and JavaScript
# rows. A type that allows everything is left out.
_TYPES: dict[str, str | None] = {
    **{n: n for n in ("object", "number", "integer", "array", "string", "boolean", "null")},
    **dict.fromkeys(["dict", "map", "hashmap", "hashtable", "record"], "object"),
    **dict.fromkeys(["float", "double", "decimal"], "number"),
    **dict.fromkeys(["int", "long", "short", "byte", "bigint"], "integer"),
    **dict.fromkeys(["tuple", "list", "set", "arraylist", "queue", "stack"], "array"),
    **dict.fromkeys(["str", "char", "text"], "string"),
    **dict.fromkeys(["bool"], "boolean"),
    **dict.fromkeys(["none", "nonetype"], "null"),
    "any": None,
}
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
_OPEN = frozenset(["additionalProperties", "unevaluatedProperties"])
_COMBINED = frozenset(["$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"])
# Draft 4 says by a truth value that a limit is not allowed itself.
_EXCLUSIVE = {"exclusiveMaximum": "maximum", "exclusiveMinimum": "minimum"}
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

        self.name, self.error = name, ""
        try:
            schema = json_schema({} if parameters is None else parameters)
            # What a schema does not name is no argument, unless it says that others are welcome.
            if isinstance(schema, dict) and not _OPEN & set(schema):
                word = (
                    "unevaluatedProperties" if _COMBINED & set(schema) else "additionalProperties"
                )
                schema = {"type": "object", **schema, word: False}
            self._validator = validator_of(json.dumps(schema))
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
                raise ValueError(f"column '{column}' is text, and no JSON: {value!r:.60}") from None
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


@functools.lru_cache(maxsize=4096)
def validator_of(text: str) -> Validator:
    """Return the validator of a JSON Schema, of the draft that it names, else 2020-12.

    It is made once, for a schema comes with every row; it fetches nothing.

    Raises:
        jsonschema.SchemaError: it is no schema.
    """
    import jsonschema
    from referencing import Registry

    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    return kind(schema, registry=Registry())


def json_schema(schema: Any) -> Any:
    """Return a schema in the words of JSON Schema 2020-12, without the nulls that tables add.

    Raises:
        ValueError: it names a type that nobody knows.
        TypeError: something that should be a schema is none.
    """
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping):
        raise TypeError(f"a schema must be an object, found {schema!r:.60}")
    out: dict[str, Any] = {}
    for key, value in renewed(schema).items():
        if value is None and key != "const":
            continue
        if key == "type":
            names = [
                name.lower() if isinstance(name, str) else name
                for name in (value if isinstance(value, list) else [value])
            ]
            unknown = [n for n in names if not isinstance(n, str) or n not in _TYPES]
            if unknown:
                raise ValueError(f"unknown type {unknown[0]!r:.40}; known are {', '.join(_TYPES)}")
            types = list(dict.fromkeys(_TYPES[name] for name in names))
            if None not in types:
                out[key] = types if isinstance(value, list) else types[0]
        elif key in _ONE:
            out[key] = json_schema(value)
        elif key in _LISTS and isinstance(value, list):
            out[key] = [json_schema(item) for item in value]
        elif key in _NAMED and isinstance(value, Mapping):
            out[key] = {n: json_schema(own) for n, own in value.items() if own is not None}
        # Draft 3, and many hand-written schemas, say `required: true` in the argument itself; the
        # list of the object around it decides.
        elif key != "required" or not isinstance(value, bool):
            out[key] = value
    return out


def renewed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without its draft's name, older drafts' words as those of 2020-12."""
    out = {key: value for key, value in schema.items() if key != "$schema"}
    if isinstance(out.get("items"), list):
        out["prefixItems"], out["items"] = out["items"], out.pop("additionalItems", None)
    if isinstance(out.get("dependencies"), Mapping):
        for name, own in out.pop("dependencies").items():
            word = "dependentRequired" if isinstance(own, list) else "dependentSchemas"
            out[word] = {**(out.get(word) or {}), name: own}
    for key, limit in _EXCLUSIVE.items():
        if isinstance(out.get(key), bool):
            out[key] = out.get(limit) if out[key] else None
    return out
