"""Whether JSON data fit a JSON Schema: `jsonschema` decides, the messages here say what was found.

A keyword that is unknown, reaches beyond the schema or matches a pattern (which may backtrack for
hours over a reply) is refused when the prompt is loaded: passing over it would accept replies that
the author of the schema meant to refuse.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

_PROSE = ("title", "description", "$schema", "default", "examples")
_REFUSED = ("pattern", "patternProperties", "$ref", "$dynamicRef", "format")


def check_schema(schema: Any) -> None:
    """Raise `ValueError` when `schema` is no JSON Schema, or says more than is checked."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "".join(f", {part!r}" for part in error.absolute_path)
        raise ValueError(f"the schema{where}: {error.message}") from None
    known = [*(k for k in Draft202012Validator.VALIDATORS if k not in _REFUSED), *_PROSE]
    schemas = [("the schema", schema)]
    for where, one in schemas:
        if not isinstance(one, Mapping):
            continue
        unknown = [key for key in one if key not in known]
        if unknown:
            raise ValueError(f"{where} has the keywords {unknown}; known are: {', '.join(known)}")
        for name, inner in one.get("properties", {}).items():
            schemas.append((f"{where}, property '{name}'", inner))
        for name in ("items", "additionalProperties", "not", "contains", "propertyNames"):
            schemas.append((f"{where}, {name}", one.get(name)))
        for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
            schemas += [(f"{where}, {name}", inner) for inner in one.get(name, ())]


def check_value(value: Any, schema: Mapping[str, Any], where: str = "the reply") -> None:
    """Raise `ValueError`, saying where and what, when `value` does not fit `schema`."""
    error = next(_validator(json.dumps(schema)).iter_errors(value), None)
    if error is not None:
        raise ValueError(_in_words(error, where))


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _in_words(error: ValidationError, where: str) -> str:
    """Return where a value is wrong, what was found and what is allowed."""
    for part in error.absolute_path:
        where += f", item {part}" if isinstance(part, int) else f", '{part}'"
    allowed, found = error.validator_value, repr(error.instance)
    found = found if len(found) <= 60 else f"{found[:57]}..."
    if error.validator == "required":
        return f"{where} lacks {[name for name in allowed if name not in error.instance]}"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        return f"{where} has {[n for n in error.instance if n not in known]}; allowed: {known}"
    if error.validator == "type":
        types = allowed if isinstance(allowed, str) else " or ".join(allowed)
        return f"{where} is {found}; it must be of type {types}"
    if error.validator == "enum":
        return f"{where} is {found}; allowed: {allowed}"
    return f"{where} is {found}; its {error.validator} is {allowed}"
