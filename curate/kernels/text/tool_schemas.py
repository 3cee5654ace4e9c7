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
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.row import TOOLS
from curate.system.bounded_patterns import bounded_pattern

if TYPE_CHECKING:
    from jsonschema import ValidationError
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
_COMBINED = frozenset(["$ref", "allOf", "anyOf", "oneOf", "if"])
# References that one check of arguments follows.
MOST_REFERENCES = 10_000
_references: ContextVar[list[int]] = ContextVar("references")
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
        self.schema: Any = {}
        try:
            schema = json_schema({} if parameters is None else parameters)
            # What a schema does not name is not an argument, unless it says that others are
            # welcome.
            if isinstance(schema, dict) and not _OPEN & set(schema):
                word = (
                    "unevaluatedProperties" if _COMBINED & set(schema) else "additionalProperties"
                )
                schema = {"type": "object", **schema, word: False}
            self.schema, self._validator = schema, validator_of(json.dumps(schema))
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
            errors = errors_of(self._validator, arguments)
        except Exception as error:  # `referencing` and `re` have roots of their own.
            raise ValueError(f"the schema of '{self.name}' cannot be applied: {error}") from error
        return [
            Misfit(_FAULTS.get(str(e.validator), "wrong_value"), f"{e.json_path}: {e.message:.120}")
            for e in errors
        ]

    def fitting(self) -> dict[str, Any] | None:
        """Return arguments that fit, few and short, or `None` where none come to mind."""
        found = value_of(self.schema)
        if not isinstance(found, dict) or self.error or self.misfits(found):
            return None
        return found


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
        jsonschema.SchemaError: it is not a schema.
    """
    import jsonschema
    from referencing import Registry

    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    if '"unevaluatedProperties"' in text and '"patternProperties"' in text:
        raise ValueError("it has patternProperties among combined parts; name the properties")
    return _bounded(kind)(schema, registry=Registry())


def errors_of(validator: Validator, value: Any) -> list[ValidationError]:
    """Return all errors of a value, in a fixed order.

    Raises:
        ValueError: a pattern takes too long, or the schema refers to itself too often.
    """
    begun = _references.set([MOST_REFERENCES])
    try:
        return sorted(validator.iter_errors(value), key=lambda e: (e.json_path, e.message))
    finally:
        _references.reset(begun)


@functools.cache
def _bounded(kind: Any) -> Any:
    """Return a validator whose patterns and references take a bounded time.

    A schema comes with the data. One that refers to itself twice, twenty times over, is a million.
    """
    import jsonschema

    others = kind.VALIDATORS["additionalProperties"]

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(value, "string") and not bounded_pattern(wanted).is_in(value):
            yield jsonschema.ValidationError(f"{value!r} does not match {wanted!r}")

    def by_pattern(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        for given, own in wanted.items() if validator.is_type(value, "object") else ():
            for name, one in value.items():
                if bounded_pattern(given).is_in(name):
                    yield from validator.descend(one, own, path=name, schema_path=given)

    def beside(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        patterns = schema.get("patternProperties")
        if patterns and validator.is_type(value, "object"):
            held = [n for n in value if any(bounded_pattern(own).is_in(n) for own in patterns)]
            value = {name: own for name, own in value.items() if name not in held}
            schema = {key: own for key, own in schema.items() if key != "patternProperties"}
        yield from others(validator, wanted, value, schema) or ()

    def counted(refer: Any, validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        left = _references.get()
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"it refers to other parts more than {MOST_REFERENCES:,} times")
        yield from refer(validator, wanted, value, schema) or ()

    words = {"pattern": pattern, "patternProperties": by_pattern, "additionalProperties": beside}
    known = {word: own for word, own in words.items() if word in kind.VALIDATORS}
    for word in ("$ref", "$dynamicRef", "$recursiveRef"):
        if (refer := kind.VALIDATORS.get(word)) is not None:
            known[word] = functools.partial(counted, refer)
    return jsonschema.validators.extend(kind, known)


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


def value_of(schema: Any, most: int = 64) -> Any:
    """Return a value of a schema's type with what it requires; others of its rules may be broken.

    A reference gives a text, as no type does. Lists in lists hold at most `most` values together.
    """
    if not isinstance(schema, Mapping):
        return "text"
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("enum", "examples"):
        if isinstance(schema.get(word), list) and schema[word]:
            return schema[word][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(word), list) and schema[word]:
            return value_of(schema[word][0], most)
    types = schema.get("type", "object" if "properties" in schema else "string")
    kind = types[0] if isinstance(types, list) and types else types
    if kind == "object":
        parts = schema.get("properties") or {}
        return {name: value_of(parts.get(name), most) for name in schema.get("required") or ()}
    if kind == "array":
        # A schema that wants many more of them gets none.
        count = max(1, min(8, most, int(schema.get("minItems") or 0)))
        return [value_of(schema.get("items"), most // count)] * count
    if kind in ("integer", "number"):
        return max(1, schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    return {"boolean": True, "null": None}.get(str(kind), "text")


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
