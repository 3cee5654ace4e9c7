"""What a notebook shows of a run: small tables of HTML in which every text stays text.

A notebook shows HTML with its own style, so there is none here. Whatever rows and names hold is
escaped, and controls and marks that turn a line's direction are shown as escapes.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from curate.row import printable

if TYPE_CHECKING:
    from curate.row import Row

MOST_ROWS = 5
MOST_STEPS = 30
CHARACTERS = 200


class ReportText(str):
    """A text for people, which a notebook shows line by line."""

    def _repr_html_(self) -> str:
        return lines_html(self)


def text_html(text: str, most: int = CHARACTERS) -> str:
    """Return the beginning of a text as HTML in which nothing is markup or a control."""
    # An escape takes up to ten characters: what is cut is the text, never an escape.
    shown = printable(text[:most])
    return html.escape(shown if len(text) <= most else f"{shown}…")


def lines_html(text: str) -> str:
    """Return the lines of a text as HTML, in a font in which columns stand below one another."""
    return f"<pre>{chr(10).join(html.escape(printable(line)) for line in text.splitlines())}</pre>"


def table_html(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Return a table of texts, and of numbers, which stand at the right of their columns."""
    names = "".join(f"<th>{text_html(name)}</th>" for name in head)
    lines = (
        "".join(
            f'<td align="right">{cell:,}</td>'
            if isinstance(cell, int)
            else f'<td align="left" dir="auto">{text_html(cell)}</td>'
            for cell in row
        )
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def rows_html(rows: Iterable[Row], count: int, where: str) -> str:
    """Return the first rows of some, what is asked beside what is answered."""
    first = list(islice(rows, MOST_ROWS))
    said = f"<p>{count:,} row{'' if count == 1 else 's'} in <code>{text_html(where)}</code></p>"
    if not first:
        return said
    # A line that could not be read has no kind and no texts.
    cells = [
        (row.id[:8], row.kind, row.instruction, row.response)
        if row.kind
        else (row.id[:8], "unreadable", "", "")
        for row in first
    ]
    rest = f"<p>… and {count - len(first):,} more</p>" if count > len(first) else ""
    return said + table_html(("row", "kind", "instruction", "response"), cells) + rest


def summary_html(summary: Mapping[str, Any], folder: str, message: str | None) -> str:
    """Return how the rows of a run ended, and its funnel."""
    steps = summary["steps"]
    whole = summary["in"] + summary["made"]
    counts = ", ".join(f"{summary[name]:,} {name}" for name in ("used", "dropped", "failed"))
    share = f" ({summary['kept'] / whole:.1%})" if whole else ""
    cost = f", ${summary['cost_usd']:.4f}" if summary["cost_usd"] else ""
    said = f"<p><b>{summary['kept']:,} of {whole:,} rows kept</b>{share}; {counts}{cost}</p>"
    if message:
        said += f"<p>{text_html(message, 1000)}</p>"
    names = ("in", "made", "used", "dropped", "failed", "kept")
    lines = [(step["label"], *(step[name] for name in names)) for step in steps[:MOST_STEPS]]
    more = f"<p>… and {len(steps) - MOST_STEPS:,} more steps</p>" if len(steps) > MOST_STEPS else ""
    look = f"<p><code>curate report {text_html(folder)} --html report.html</code></p>"
    return said + (table_html(("step", *names), lines) if lines else "") + more + look
