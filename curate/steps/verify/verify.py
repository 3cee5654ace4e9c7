"""Check answers against a gold answer, by rule."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.kernels.text.final_answers import choice_in, final_answer, number_in
from curate.kernels.text.tool_schemas import validator_of
from curate.row import Row
from curate.step import Filter, Scored, rule


@dataclass(frozen=True, kw_only=True)
class Verify(Filter):
    """Drop rows whose answer is not the gold one, or does not fit the schema that a row names.

    The score is the share passed, 1 or 0 for these checkers. `checker` says how the response is
    compared with the column `gold` of its row: `number` (exact, or within the relative
    `tolerance`; the number of a marked answer, else the last one), `choice` (the letter of an
    option), `exact` (the marked answer, else all of the text, in composed form and without white
    space around it; `ignore_case`), `json` (the response is JSON, also in a code fence, and valid
    by the schema in `gold`). A marked answer comes after `####` or `answer is`, on a line `A:`,
    or in `boxed`. Gold may be a list of which one has to agree. Gold or responses that cannot be
    read fail the row: they are not wrong. Below `min` a row is dropped.
    """

    checker: Literal["number", "choice", "exact", "json"] = "exact"
    gold: str = "ground_truth"
    tolerance: float = 0.0
    ignore_case: bool = False
    min: float | None = rule(1.0)

    version: ClassVar[int] = 2
    kinds: ClassVar[tuple[str, ...]] = ("sft", "preference", "unpaired")
    source: ClassVar[str] = "Cobbe et al. 2021 (GSM8K), arXiv 2110.14168; JSON Schema 2020-12"

    def check(self) -> None:
        """Reject limits that every answer, or none, would meet."""
        if self.min is not None and not 0 < self.min <= 1:
            raise ValueError(f"min is {self.min:g}; a share is above 0 and at most 1")
        if self.tolerance < 0:
            raise ValueError(f"tolerance is {self.tolerance:g}; it must be 0 or more")
        if self.tolerance and self.checker != "number":
            raise ValueError(f"tolerance belongs to checker: number, not to {self.checker}")
        if self.ignore_case and self.checker != "exact":
            raise ValueError(f"ignore_case belongs to checker: exact, not to {self.checker}")

    def score(self, row: Row) -> Scored:
        """Return 1 where the response passes, else 0, with what was compared."""
        extra = json.loads(row.extra) if row.extra else {}
        gold = extra.get(self.gold)
        if gold is None:
            there = ", ".join(extra) or "none"
            raise ValueError(f"column '{self.gold}' holds no gold answer; columns: {there}")
        if self.checker == "json":
            return _fits(row.response, gold)
        if gold == []:
            raise ValueError(f"column '{self.gold}' is an empty list; it must hold an answer")
        listed = gold if isinstance(gold, list) else [gold]
        found = self._read(row.response, "response")
        golds = [self._read(one, f"gold in '{self.gold}'") for one in listed]
        if self.checker == "number" and self.tolerance:
            passed = any(abs(found - one) <= self.tolerance * abs(one) for one in golds)
        else:
            passed = found in golds
        shown = {"found": str(found)[:200], "gold": [str(one)[:200] for one in golds]}
        return Scored(float(passed), {"checker": self.checker, **shown})

    def _read(self, value: Any, what: str) -> Any:
        """Return the answer in a text, as the checker compares it."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found: Any
        if self.checker == "number":
            found = number_in(text)
        elif self.checker == "choice":
            found = choice_in(text)
        else:
            marked = final_answer(text)
            found = unicodedata.normalize("NFC", text if marked is None else marked).strip()
            found = (found.casefold() if self.ignore_case else found) or None
        if found is None:
            raise ValueError(f"the {what} holds no {self.checker} answer: {text[-80:]!r}")
        return found

    def keep(self, score: float | None) -> str | None:
        """Compare the share passed with the rule."""
        if score is not None and self.min is not None and score < self.min:
            return f"share passed below {self.min:g}"
        return None


def _fits(text: str, schema: Any) -> Scored:
    """Return whether a JSON text is valid by a schema."""
    from jsonschema import SchemaError

    from curate.read.strict_json import parse

    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```") and "\n" in inner:
        inner = inner[inner.index("\n") : -3]
    try:
        validator = validator_of(json.dumps(parse(schema) if isinstance(schema, str) else schema))
    except (ValueError, RecursionError, SchemaError) as error:
        raise ValueError(f"gold is no JSON Schema: {error!s:.120}") from None
    try:
        value = parse(inner)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the response is no JSON: {error!s:.120}") from None
    errors = sorted(validator.iter_errors(value), key=lambda e: (e.json_path, e.message))
    shown = [f"{error.json_path}: {error.message:.120}" for error in errors[:20]]
    return Scored(float(not errors), {"checker": "json", "errors": shown})
