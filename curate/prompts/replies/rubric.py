"""The scores that a rubric asks for, and how a reply gives them: as an object, or in lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from curate.errors import RecipeError
from curate.prompts.prompt import Prompt
from curate.prompts.replies.expected import HIGHEST
from curate.prompts.replies.numbers import SCORE_NAMES, number_in
from curate.prompts.replies.objects import check_schema, check_value, object_in

# Tokens of a text whose schema sets no limit, such as a rationale.
_LONGEST_TEXT = 1024


class Scale(NamedTuple):
    """The range of a score."""

    low: float
    high: float
    whole: bool

    @property
    def weighs(self) -> bool:
        """Whether its scores can be weighed by the probabilities of their tokens."""
        return self.whole and self.low >= 0 and self.high <= HIGHEST


def scales_of(prompt: Prompt) -> dict[str, Scale]:
    """Return the scores that the prompt's schema asks for: its required numbers, with their scales.

    Raises:
        RecipeError: the schema asks for no score, or says more than is checked.
    """
    schema = prompt.schema
    if schema is None:
        raise _wrong(prompt, "has no 'schema', so nothing says which marks it asks for")
    try:
        check_schema(schema)
    except ValueError as error:
        raise _wrong(prompt, f"has a schema that cannot be checked: {error}") from error
    required, found = schema.get("required", ()), {}
    for name, one in schema.get("properties", {}).items():
        if one.get("type") not in ("integer", "number") or name not in required:
            continue
        if not {"minimum", "maximum"} <= one.keys() or one["minimum"] >= one["maximum"]:
            raise _wrong(prompt, f"must give '{name}' a minimum and a higher maximum")
        found[name] = Scale(one["minimum"], one["maximum"], one["type"] == "integer")
    if not found:
        raise _wrong(prompt, "requires no number in its schema, so it asks for no mark")
    return found


def most_tokens(schema: Mapping[str, Any]) -> int:
    """Return an upper bound for the tokens of a reply that fits the schema of a rubric."""
    tokens = 64
    for one in schema.get("properties", {}).values():
        numeric = one.get("type") in ("integer", "number", "boolean", "null")
        tokens += 16 if numeric else min(one.get("maxLength", _LONGEST_TEXT), _LONGEST_TEXT)
    return tokens


def marks_in(text: str, prompt: Prompt, scales: Mapping[str, Scale], *names: str) -> dict[str, Any]:
    """Return the scores of a reply, and whatever else its schema asks for.

    A reply without braces may give its scores in lines ("Accuracy: 4"); the whole of it is then the
    rationale, unless it holds no letter. A lone score may also be called by one of `names`.

    Raises:
        ValueError: the scores cannot be read for certain.
    """
    schema = prompt.schema or {}
    if "{" in text:
        found: dict[str, Any] = object_in(text, schema)
        return found
    alone = (*SCORE_NAMES, *names) if len(scales) == 1 else ()
    # "7" or "7/10" gives no reason.
    marks: dict[str, Any] = {"rationale": text.strip()} if any(map(str.isalpha, text)) else {}
    for name, scale in scales.items():
        spoken = name.replace("_", " ")
        marks[name] = number_in(text, scale.low, scale.high, (name, spoken, *alone))
        check_value(marks[name], schema["properties"][name], f"'{name}'")
    return marks


def _wrong(prompt: Prompt, problem: str) -> RecipeError:
    return RecipeError(
        f"the prompt '{prompt.name}' {problem}; see prompts/helpfulness.md", file=str(prompt.path)
    )
