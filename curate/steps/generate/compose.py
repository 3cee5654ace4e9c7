"""Write an instruction by a prompt of your own, filled with a row, its columns and its plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.ask import Ask, Reply
from curate.errors import CurateError, UnusableReply
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Failed, Gather, Product


@dataclass(frozen=True, kw_only=True)
class Compose(Gather):
    """Fill in a prompt for each planned row, and make the model's reply an instruction.

    `prompt` is the name or path of a prompt file. `template` is a prompt written into the recipe
    instead. Their variables are the values planned by the `attributes` step, the row's other
    columns, `instruction`, `response`, `mark` (a code for delimiters), and `seeds`, a list with
    `instruction` and `response` of each row if several rows form one seed. `plan` is the label of
    the `attributes` step. Without a `model`, the filled prompt is the instruction itself. With
    `column`, the reply becomes that column of the row instead, such as a persona derived from a
    text (`prompt: persona`). Planned values become columns of the new rows, long texts by their
    ids. A reply that is empty or was cut off at `max_tokens` fails only its own row. `temperature`
    and `max_tokens` override those of the model.
    """

    model: str | None = None
    prompt: str | None = None
    template: str | None = None
    plan: str = "attributes"
    column: str | None = None
    temperature: float | None = None
    max_tokens: int | None = 1024

    source: ClassVar[str] = "common; attributed prompts: Yu et al. 2023, arXiv 2306.15895"

    def check(self) -> None:
        """Reject a step with two prompts or none, or without a model for a column."""
        if (self.prompt is None) == (self.template is None):
            raise ValueError("give prompt (a prompt file) or template (a text), one of them")
        if self.column is not None and not self.model:
            raise ValueError("column takes a model's reply: model must name one")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the prompt."""
        from jinja2 import TemplateSyntaxError

        from curate.prompts.sandbox import never_renders, variables_of

        try:
            if self.prompt is not None:
                prompts.load(self.prompt)
            else:
                template = self.template or ""
                if why := never_renders(template, variables_of(template)):
                    raise ValueError(f"template cannot be rendered: {why}")
        except CurateError as error:
            raise ValueError(str(error)) from None
        except TemplateSyntaxError as error:
            raise ValueError(
                f"template is not valid: {error.message}, in line {error.lineno}"
            ) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        text = None if self.prompt is None else prompts.digest(self.prompt)
        return {**super().fingerprint(), "prompt_text": text}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Instructions are prompts; a row with one more column is of its own kind."""
        made = frozenset({"prompt"}) if self.column is None else kinds
        return made | kinds if self.keep_parent else made

    def key(self, row: Row) -> str:
        """Rows of one seed are a group; a row without a plan is its own."""
        planned = plan_of(row, self.plan)
        return row.id if planned is None else str(planned["group"])

    def make(self, rows: Sequence[Row]) -> Asking:
        """Fill the prompt for every planned row, and ask for all of them at once."""
        first = rows[0]
        planned = plan_of(first, self.plan) or {"cells": [{}]}
        columns = json.loads(first.extra) if first.extra else {}
        own = {
            "instruction": first.instruction,
            "response": first.response,
            "mark": prompts.mark_of(*(row.whole for row in rows)),
            "seeds": [{"instruction": r.instruction, "response": r.response} for r in rows],
        }
        every = planned["cells"]
        check_columns(columns, every)
        if self.column in columns:
            raise ValueError(f"the row has a column '{self.column}' already; name another")
        what = "the instruction" if self.column is None else f"the {self.column}"
        shown = [{**columns, **own, **cell} for cell in every]
        for values, texts in zip(shown, planned.get("texts", ()), strict=False):
            values |= texts
        filled = [self._filled(values) for values in shown]
        replies: list[Reply | None] = [None] * len(filled)
        if self.model is not None:
            replies = yield [
                Ask(
                    model=self.model,
                    sample=sample,
                    messages=(Message("user", text),),
                    system=system,
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                )
                for sample, (text, system) in enumerate(filled)
            ]
        products: list[Product] = []
        for cell, (text, _), reply in zip(every, filled, replies, strict=True):
            extra = columns | cell
            try:
                said = text.strip() if reply is None else written(reply, what)
            except UnusableReply as error:
                products.append(Failed(error, None, reply))
                continue
            if not said:
                products.append(Failed("what is to be the instruction is empty", None, reply))
            elif self.column is not None:
                extra[self.column] = said
                products.append(first.rewrite()._replace(extra=json.dumps(extra)))
            else:
                turns = {"prompt": (Message("user", said),)}
                products.append(Record("prompt", turns, json.dumps(extra, ensure_ascii=False)))
        return products

    def _filled(self, values: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the prompt and its system prompt for one row's values."""
        from jinja2 import TemplateError

        from curate.prompts.sandbox import compiled, rendered, variables_of

        wanted: set[str] = set()
        if self.prompt is not None:
            found = prompts.load(self.prompt)
            wanted = set(found.variables)
        elif self.template is not None:
            wanted = variables_of(self.template)
        if missing := sorted(wanted - values.keys()):
            raise ValueError(f"there is no {missing[0]!r} for the prompt; there are: "
                             f"{', '.join(sorted(values))}")  # fmt: skip
        if self.prompt is not None:
            known = {n: values[n] for n in (*found.variables, *found.optional) if n in values}
            return found.render(**known)
        try:
            return rendered(compiled(self.template or ""), values), None
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"template cannot be filled in: {error}") from error


def check_columns(columns: Mapping[str, Any], cells: Iterable[Mapping[str, Any]]) -> None:
    """Raise `ValueError` where a planned value would take the place of another in a column."""
    for cell in cells:
        for name, value in cell.items():
            if columns.get(name, value) != value:
                raise ValueError(
                    f"the row has a column '{name}' already; rename it or the attribute"
                )


def plan_of(row: Row, label: str) -> Mapping[str, Any] | None:
    """Return what the step called `label` planned for a row, if it did."""
    notes = json.loads(row.notes) if row.notes else {}
    found = notes.get(label)
    return found if isinstance(found, dict) and "cells" in found else None
