"""Documents: one text a row, as a prompt for steps that make something of it.

Files of prose are read so by their endings. Records with nothing but a `text` are, where the shape
is named: such a column could hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_of, only_turn, text_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

FORMATS = ("text", "markdown", "html", "pdf")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a document that was written out again."""
    return isinstance(data.get("text"), str) and data.get("format") in FORMATS


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the text as a prompt; all other columns are extra."""
    text = text_of(data, "text")
    return Record("prompt", {"prompt": (Message("user", text),)}, extra_of(data, ("text",)))


def from_row(row: Row) -> dict[str, Any]:
    """Return the text with the other columns."""
    return with_extra({"text": only_turn(row.prompt, "user")}, row)


SHAPES = (
    Shape(
        "document",
        "prompt",
        "Documents: a `text` and its `format`, as files of text, Markdown, HTML and PDF are read.",
        (("text", "format"),),
        detect,
        to_record,
        from_row,
        system=(),
    ),
)
