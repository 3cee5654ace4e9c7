"""Make tasks of a dataset's columns with templates, as PromptSource does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.errors import CurateError
from curate.prompts import collection as collections
from curate.prompts.collection import Collection, Task, TaskTemplate, TemplateFault
from curate.row import RESPONSE_FIELD, Message, Record, Row
from curate.step import Drop, Failed, Generate, Made, Product

NOT_APPLICABLE = "the template does not apply"
EMPTY_INPUT = "empty input"
EMPTY_TARGET = "empty target"
# Columns that a made row has beside those of its parent.
TEMPLATE, CHOICES = "template", "answer_choices"


@dataclass(frozen=True, kw_only=True)
class Template(Generate):
    """Render a row's columns into an input and a target, with each template of a collection.

    `collection` is a PromptSource file (a path that ends in .yaml) or the name of an included one.
    `templates` selects some of its templates, by name or id. `choices` selects those whose prompt
    shows the answer choices (`shown`), or the others (`hidden`), by their metadata. `draw` is the
    number of templates per row, drawn from its seed. Each makes an `sft` row; with `to: prompt`, a
    prompt without the target. For a row read with `shape: table`, templates see its columns; for
    any other row, its extra columns and the texts `instruction`, `response`, `system` and `turns`.
    New rows have the columns that their template does not read, the `template` and its
    `answer_choices`. `keep_columns` keeps all columns. If a template renders nothing, no input or
    no target, the row that it would make is dropped; a missing column, a missing choice (such as a
    hidden label) or anything but one separator fails it.
    """

    collection: str | None = None
    templates: tuple[str, ...] = ()
    choices: Literal["shown", "hidden"] | None = None
    draw: int | None = None
    to: Literal["sft", "prompt"] = "sft"
    keep_columns: bool = False

    source: ClassVar[str] = "Bach et al. 2022 (PromptSource), arXiv 2202.01279"

    def check(self) -> None:
        """Reject a step without a collection, and an impossible number of templates."""
        if not self.collection:
            known = ", ".join(collections.names())
            raise ValueError(f"collection must name a file of templates, or one of: {known}")
        if self.draw is not None and self.draw < 1:
            raise ValueError(f"draw is {self.draw}; it must be 1 or more")

    def prepare(self) -> None:
        """Read the collection, and reject templates that it does not have."""
        try:
            if not self._chosen():
                raise ValueError(
                    f"no template of '{self.collection}' has its choices {self.choices}"
                )
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add a digest of the templates: a changed file is another step under the same name."""
        return {
            **super().fingerprint(),
            "collection_text": collections.digest(self.collection or ""),
        }

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations, or all become prompts."""
        return frozenset({self.to}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> list[Product]:
        """Render each template, or those drawn."""
        chosen = list(self._chosen())
        random = row.random(self.title)
        if self.draw is not None and self.draw < len(chosen):
            places = random.sample(range(len(chosen)), self.draw)
            chosen = [chosen[place] for place in sorted(places)]
        collection = collections.load(self.collection or "")
        columns = columns_of(row)
        return [self._made(row, collection, t, columns, random.getrandbits(64)) for t in chosen]

    def _chosen(self) -> tuple[TaskTemplate, ...]:
        found = collections.load(self.collection or "").named(self.templates)
        if self.choices is None:
            return found
        shown = self.choices == "shown"
        return tuple(t for t in found if bool(t.metadata.get("choices_in_prompt")) == shown)

    def _made(
        self,
        row: Row,
        collection: Collection,
        template: TaskTemplate,
        columns: dict[str, Any],
        seed: int,
    ) -> Made | Drop | Failed:
        """Return the row that one template makes, or why it makes none."""
        from curate.read.shapes.record_fields import extra_columns

        named = {"template": template.name, "id": template.id}
        try:
            task = template.render(columns, seed)
            own: dict[str, Any] = {TEMPLATE: f"{collection.title}: {template.name}"}
            own |= {} if task.choices is None else {CHOICES: list(task.choices)}
            read = () if self.keep_columns else template.columns_read()
            carried = {k: v for k, v in extra_columns(row).items() if k not in read}
            if taken := own.keys() & carried.keys():
                raise TemplateFault(f"the row has a column '{min(taken)}' already; rename it")
        except TemplateFault as fault:
            return Failed(str(fault))
        extra = json.dumps({**carried, **own}, ensure_ascii=False, separators=(",", ":"))
        turns = Message("user", task.input or ""), Message("assistant", task.target)
        count = 0 if task.input is None else 2 if self.to == "sft" else 1
        field = "messages" if self.to == "sft" else "prompt"
        record = Record(self.to, {field: turns[:count]}, extra)
        if (reason := left_out(task, self.to)) is not None:
            return Drop(reason, record=record, detail=named)
        return Made(record, detail=named)


def left_out(task: Task, to: Literal["sft", "prompt"]) -> str | None:
    """Return why a rendered task makes no row; `None` where it makes one."""
    if task.input is None:
        return NOT_APPLICABLE
    if not task.input:
        return EMPTY_INPUT
    return EMPTY_TARGET if not task.target and to == "sft" else None


def columns_of(row: Row) -> dict[str, Any]:
    """Return what templates see of a row: its columns, and its texts where it is not a table.

    Raises:
        ValueError: a column has the name of one of the texts.
    """
    # Shapes import numpy, which the list of steps does not wait for.
    from curate.read.shapes.record_fields import extra_columns
    from curate.read.shapes.untyped import table_columns

    columns = table_columns(row)
    if columns is None:
        columns, turns = extra_columns(row), row.turns("whole")
        texts: dict[str, Any] = {
            "instruction": row.instruction,
            "system": "\n".join(turn.text for turn in turns if turn.role == "system"),
            "turns": [{"role": turn.role, "content": turn.text} for turn in turns],
        }
        if row.kind in RESPONSE_FIELD:
            texts["response"] = row.response
        if clash := texts.keys() & columns.keys():
            raise ValueError(
                f"'{min(clash)}' is a text of the row and also a column of it; read the file with "
                "shape: table to have the columns alone"
            )
        columns |= texts
    return columns
