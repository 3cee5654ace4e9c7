"""A reply as an object of a known form: strict JSON, or a request to say it again.

A form is a JSON Schema, or a pydantic model (anything with `model_json_schema` and
`model_validate`). A server that holds replies to a schema gets it with `structured=True`. What
arrives is checked all the same, because servers differ in what they enforce; an object that cannot
be read is answered with what is wrong with it, a bounded number of times. Each repair is a request
of its own, paid like any other.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.prompts.replies.plain_lines import read, shown
from curate.row import Message

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Asking = Generator[Any, Any, Any]
_PROSE = ("title", "description", "$schema", "default", "examples")
# These reach beyond the schema, or match a pattern, which may backtrack for hours over a reply.
_REFUSED = ("pattern", "patternProperties", "$ref", "$dynamicRef", "format")
_AGAIN = (
    "That reply cannot be used: {}. Give the whole answer again, exactly in the form asked for, "
    "and nothing else."
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# A string, which stays, or a comma that ends an object or list in place of another member. A string
# without an end goes on to that of the text: were it none, each quote in it would be tried as one.
_LAST_COMMA = re.compile(r"""(?s)("(?:[^"\\]|\\.)*"?)|(?<=[^\s\[{,:])\s*,(?=\s*[}\]])""")
_FENCED = re.compile(r"(?ms)^[ \t]*```(?:json)?[ \t]*\n(.*?)^[ \t]*```[ \t]*$")


def object_in(text: str, form: Any) -> Any:
    """Return the one object that `text` holds, checked against `form`.

    Prose before and after it is passed over; a second object is not.

    Raises:
        ValueError: there is no object, more than one, or it does not fit.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        value, rest = _decoded(stripped, 0)
    else:
        fenced = _FENCED.findall(text)
        if len(fenced) > 1:
            raise ValueError(f"it holds {len(fenced)} fenced blocks, not one: {shown(text)}")
        source = fenced[0].strip() if fenced else stripped
        begin = source.find("{")
        if begin < 0:
            raise ValueError(f"it holds no JSON object: {shown(text)}")
        value, rest = _decoded(source, begin)
    if "{" in rest:
        raise ValueError(f"it holds more than one object: {shown(text)}")
    if isinstance(form, Mapping):
        check_value(value, form)
        return value
    return form.model_validate(value)


def ask_object(ask: Ask, form: Any, *, structured: bool = False, repairs: int = 1) -> Asking:
    """Ask for an object of `form`, from within a step, by `yield from`.

    Args:
        ask: a chat; its prompt should say what the object holds.
        form: a JSON Schema or a pydantic model.
        structured: let the server hold the reply to the schema.
        repairs: how often an unusable reply is answered with what is wrong with it.
    """
    if structured:
        schema = form if isinstance(form, Mapping) else form.model_json_schema()
        ask = dataclasses.replace(ask, schema=schema)
    found = yield from ask_until(ask, lambda text: object_in(text, form), repairs=repairs)
    return found[0]


def ask_until(ask: Ask, parse: Callable[[str], Any], *, repairs: int = 1) -> Asking:
    """Ask until `parse` can read the reply; return what it read and the reply itself.

    A reply that was cut off is not repaired: the next one would be cut off, too.
    """
    for left in range(repairs, -1, -1):
        reply = yield ask
        try:
            return read(reply, parse), reply
        except UnusableReply as error:
            repaired = ask_again(ask, reply, error) if left else None
            if repaired is None:
                raise
            ask = repaired
    raise AssertionError("repairs must be 0 or more")


def ask_each_until(asks: Sequence[Ask], parse: Callable[[str], Any], *, repairs: int = 1) -> Asking:
    """Ask all of `asks` at once until every reply can be read; return pairs as `ask_until` does."""
    found: dict[int, tuple[Any, Reply]] = {}
    waiting = dict(enumerate(asks))
    for left in range(repairs, -1, -1):
        replies: Sequence[Reply] = yield list(waiting.values())
        again: dict[int, Ask] = {}
        for (place, ask), reply in zip(waiting.items(), replies, strict=True):
            try:
                found[place] = read(reply, parse), reply
            except UnusableReply as error:
                repaired = ask_again(ask, reply, error) if left else None
                if repaired is None:
                    raise
                again[place] = repaired
        if not again:
            return [found[place] for place in range(len(asks))]
        waiting = again
    raise AssertionError("repairs must be 0 or more")


def ask_again(ask: Ask, reply: Reply, error: Exception) -> Ask | None:
    """Return the request that says what is wrong with a reply, or `None` where that is no use.

    A reply that was cut off would be again, and raw text has no turn in which to say it.
    """
    if reply.finish_reason != "stop" or not ask.messages:
        return None
    # A chat template may refuse an empty turn.
    answer = Message("assistant", reply.text if reply.text.strip() else "(nothing)")
    again = Message("user", _AGAIN.format(error))
    return dataclasses.replace(ask, messages=(*ask.messages, answer, again))


def _decoded(text: str, begin: int) -> tuple[dict[str, Any], str]:
    """Return the object that begins there, and what follows it.

    Two slips of models are passed over, because they leave no doubt of what is meant: a line break
    or tab as it is in a string, and a comma behind the last member of an object or list. Other
    control characters stay a fault.
    """
    decoder = json.JSONDecoder(
        strict=False,
        object_pairs_hook=_unique,
        parse_constant=_no_constant,
        parse_float=lambda text: (
            number if math.isfinite(number := float(text)) else _no_constant(text)
        ),
    )
    try:
        try:
            value, end = decoder.raw_decode(text, begin)
        except json.JSONDecodeError as error:
            mended = _LAST_COMMA.sub(lambda found: found[1] or "", text[begin:])
            try:
                value, end = decoder.raw_decode(mended)
                text, begin = mended, 0
            except json.JSONDecodeError:
                raise error from None
        if control := _CONTROL.search(text, begin, end):
            raise json.JSONDecodeError("Invalid control character at", text, control.start())
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON ({error}): {shown(text)}") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    return value, text[end:]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it holds {twice} more than once")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is not a JSON number")


def check_schema(schema: Any) -> None:
    """Raise `ValueError` when `schema` is not a JSON Schema, or says more than is checked.

    Passing over an unknown keyword would accept replies that the schema's author meant to refuse.
    """
    _checked(json.dumps(schema))


# A step checks the schema of its prompt for every row, which costs more than a short reply does.
@functools.lru_cache(maxsize=64)
def _checked(text: str) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    schema = json.loads(text)
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
    if error is None:
        return
    for part in error.absolute_path:
        where += f", item {part}" if isinstance(part, int) else f", '{part}'"
    allowed, found = error.validator_value, repr(error.instance)
    found = found if len(found) <= 60 else f"{found[:57]}..."
    said = f"is {found}; its {error.validator} is {allowed}"
    if error.validator == "required":
        said = f"lacks {[name for name in allowed if name not in error.instance]}"
    elif error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        said = f"has {[n for n in error.instance if n not in known]}; allowed: {known}"
    elif error.validator == "type":
        types = allowed if isinstance(allowed, str) else " or ".join(allowed)
        said = f"is {found}; it must be of type {types}"
    elif error.validator == "enum":
        said = f"is {found}; allowed: {allowed}"
    raise ValueError(f"{where} {said}")


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))
