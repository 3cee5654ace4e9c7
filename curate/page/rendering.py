"""Turn what a page says into its bytes: a template, one style sheet, one script, and data.

Two walls keep hostile rows from doing anything. Every text is escaped where it is written: by the
template here, by `textContent` in the script, and as base64 where rows travel as data. And the
page's policy lets nothing load and no script run but the two whose hashes it names.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from curate.system.posix import write_atomically

STATIC = Path(__file__).with_name("static")
MOST_BYTES = 20_000_000
# Controls, and marks that change the direction or the end of a line, are shown, not obeyed.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def write_fitting(path: Path, rows: int, page: Callable[[int], tuple[str, int]]) -> tuple[int, int]:
    """Write a page to `path` with fewer rows where it would be too large.

    `page` returns the text of a page with at most so many rows, and how many it carries.

    Returns:
        The bytes written, and the rows that the page carries.
    """
    while True:
        text, carried = page(rows)
        size = len(text.encode())
        if size <= MOST_BYTES or rows <= 1:
            break
        # Texts make the size: a share of the rows makes about that share of it.
        rows = min(rows - 1, int(0.9 * rows * MOST_BYTES / size))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    return size, carried


def named(run: Path) -> str:
    """Return a run as pages name it in commands; a page tells no folders of a machine."""
    return run.name if run.is_absolute() else str(run)


def as_shown(values: Sequence[Any]) -> list[Any]:
    """Return values with every text among them as `shown` has it."""
    return [shown(value) if isinstance(value, str) else value for value in values]


def shown(text: str) -> str:
    """Return a text with everything in it that is not seen, or is obeyed, as an escape."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def packed(data: Any) -> str:
    """Return data as the script unpacks it: JSON, compressed, in characters that are not markup."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page that a template makes of `context`, with its style, script and policy."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(STATIC),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that is written goes through this, before it is escaped.
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["change"] = lambda value: f"{value:+,}" if value else "–"
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    environment.filters["number"] = lambda value: f"{value:.6g}"
    script = _static("d3-quadtree.min.js") + "\n" + _static("report.js")
    style = _static("report.css")
    own = {
        "script": script,
        "style": style,
        "script_hash": _hash(script),
        "style_hash": _hash(style),
    }
    return environment.get_template(template).render({**context, **own})


@cache
def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
