"""Answers that are compared as they are read: numbers, letters of options, texts, JSON."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Literal

from curate.kernels.text.final_answers import choice_in, final_answer, number_in
from curate.kernels.text.tool_schemas import errors_of, validator_of
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification, VerifyOptions


def verify_number(reply: str, gold: Any, options: VerifyOptions) -> Verification:
    """Compare numbers exactly, or within the relative tolerance."""
    found, golds = _read_all(reply, gold, "number", options)
    if options.tolerance:
        passed = any(abs(found - one) <= options.tolerance * abs(one) for one in golds)
    else:
        passed = found in golds
    return _compared(passed, found, golds)


def verify_same(
    kind: Literal["choice", "exact"], reply: str, gold: Any, options: VerifyOptions
) -> Verification:
    """Compare letters of options, or marked answers as texts."""
    found, golds = _read_all(reply, gold, kind, options)
    return _compared(found in golds, found, golds)


def golds_in(gold: Any) -> list[str]:
    """Return the gold answers as texts; a list holds several right ones."""
    if gold == []:
        raise UnreadableAnswer("gold", "the gold is an empty list; it must hold an answer")
    listed = gold if isinstance(gold, list) else [gold]
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in listed]


def _read_all(
    reply: str, gold: Any, kind: Literal["number", "choice", "exact"], options: VerifyOptions
) -> tuple[Any, list[Any]]:
    found = _read(reply, "reply", kind, options)
    return found, [_read(one, "gold", kind, options) for one in golds_in(gold)]


def _read(
    text: str,
    side: Literal["reply", "gold"],
    kind: Literal["number", "choice", "exact"],
    options: VerifyOptions,
) -> Any:
    """Return the answer in a text, as it is compared."""
    found: Any
    if kind == "number":
        found = number_in(text)
    elif kind == "choice":
        found = choice_in(text)
    else:
        marked = final_answer(text)
        found = unicodedata.normalize("NFC", text if marked is None else marked).strip()
        found = (found.casefold() if options.ignore_case else found) or None
    if found is None:
        raise UnreadableAnswer(side, f"the {side} holds no {kind} answer: {text[-80:]!r}")
    return found


def _compared(passed: bool, found: Any, golds: list[Any]) -> Verification:
    shown = {"found": str(found)[:200], "gold": [str(one)[:200] for one in golds]}
    return Verification(float(passed), shown)


def unfenced(text: str) -> str:
    """Return what stands in the code fence that a text is, or the text, without space around."""
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```") and "\n" in inner:
        inner = inner[inner.index("\n") : -3].strip()
    return inner


def verify_json(reply: str, schema: Any) -> Verification:
    """Return whether a JSON text, also in a code fence, is valid by a schema."""
    from jsonschema import SchemaError

    from curate.read.strict_json import parse

    try:
        validator = validator_of(json.dumps(parse(schema) if isinstance(schema, str) else schema))
    except (ValueError, TypeError, RecursionError, SchemaError) as error:
        raise UnreadableAnswer("gold", f"the gold is not a JSON Schema: {error!s:.120}") from None
    try:
        value = parse(unfenced(reply))
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer("reply", f"the reply is not JSON: {error!s:.120}") from None
    try:
        errors = errors_of(validator, value)
    except Exception as error:  # `referencing` and `re` have roots of their own.
        said = f"the gold's JSON Schema cannot be applied: {error!s:.160}"
        raise UnreadableAnswer("gold", said) from None
    shown = [f"{error.json_path}: {error.message:.120}" for error in errors[:20]]
    return Verification(float(not errors), {"errors": shown})
