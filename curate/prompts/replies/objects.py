"""A reply as an object of a known form: strict JSON, or a request to say it again.

A form is a JSON Schema, or a pydantic model (anything with `model_json_schema` and
`model_validate`). A server that holds replies to a schema gets it with `structured=True`. What
arrives is checked all the same, because servers differ in what they enforce; an object that cannot
be read is answered with what is wrong with it, a bounded number of times. Each repair is a request
of its own, paid like any other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.prompts.replies import read
from curate.prompts.replies.plain_lines import shown
from curate.prompts.replies.schema import check_value
from curate.row import Message

Asking = Generator[Ask, Reply, Any]
_AGAIN = (
    "That reply cannot be used: {}. Give the whole answer again, exactly in the form asked for, "
    "and nothing else."
)
_FENCED = re.compile(r"(?ms)^[ \t]*```(?:json)?[ \t]*\n(.*?)^[ \t]*```[ \t]*$")


def object_in(text: str, form: Any) -> Any:
    """Return the one object that `text` holds, checked against `form`.

    Prose before and after it is passed over; a second object is not.

    Raises:
        ValueError: there is no object, more than one, or it does not fit.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        value, end = _decoded(stripped, 0)
        rest = stripped[end:]
    else:
        fenced = _FENCED.findall(text)
        if len(fenced) > 1:
            raise ValueError(f"it holds {len(fenced)} fenced blocks, not one: {shown(text)}")
        source = fenced[0].strip() if fenced else stripped
        begin = source.find("{")
        if begin < 0:
            raise ValueError(f"it holds no JSON object: {shown(text)}")
        value, end = _decoded(source, begin)
        rest = source[end:]
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
            if not left or reply.finish_reason != "stop" or not ask.messages:
                raise
            # A chat template may refuse an empty turn.
            answer = Message("assistant", reply.text if reply.text.strip() else "(nothing)")
            again = Message("user", _AGAIN.format(error))
            ask = dataclasses.replace(ask, messages=(*ask.messages, answer, again))
    raise AssertionError("repairs must be 0 or more")


def _decoded(text: str, begin: int) -> tuple[dict[str, Any], int]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
    )
    try:
        return decoder.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no valid JSON ({error}): {shown(text)}") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it holds {twice} more than once")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_constant(text)


def _no_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no JSON number")
