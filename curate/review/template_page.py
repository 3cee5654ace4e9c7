"""The requests of the page that writes templates: rows out, a template tried, files in."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from curate.errors import UsageError
from curate.review.label_events import Labels
from curate.review.local_page import LocalPage, body_of, serve_page
from curate.review.template_files import TemplateFolder, template_of
from curate.review.template_trial import counted, tried
from curate.row import Row
from curate.steps.generate.template import columns_of

ROWS_SHOWN = 10
_MOST_CELL, _MOST_VALUES, _EXAMPLES = 300, 12, 3
_TYPES = {str: "text", bool: "true or false", int: "integer", float: "number", list: "list"}


class TriedRows(NamedTuple):
    """The rows that templates are tried on, in source order: `total` are in `name`.

    `unread` records of it could not be read. `shape` is how they were read, where the step needs to
    be told.
    """

    name: str
    rows: Sequence[Row]
    total: int
    unread: int = 0
    shape: str | None = None

    @property
    def stem(self) -> str:
        """A name for the dataset's file of templates."""
        last = re.split(r"[/:@]", self.name.rstrip("/"))[-1].split(".")[0]
        return re.sub(r"[^A-Za-z0-9_-]+", "_", last).strip("_-")[:60] or "templates"


class TemplateWriter:
    """The handlers of one page of templates."""

    def __init__(self, dataset: TriedRows, folder: TemplateFolder) -> None:
        """Show `dataset`, and save into `folder`."""
        self.dataset, self.folder = dataset, folder

    def routes(self) -> Iterator[web.RouteDef]:
        """Yield what the page's script asks for."""
        yield web.get("/rows", self.rows)
        yield web.get("/files", self.files)
        yield web.post("/render", self.render)
        yield web.post("/save", self.save)
        yield web.post("/figures", self.figures)

    def _columns(self, row: Row) -> dict[str, Any]:
        """Return a row's columns; those of a clash are shown by the row itself when it is tried."""
        try:
            return columns_of(row)
        except ValueError:
            return {}

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """Answer with ten rows, and with what the columns of all rows hold."""
        start = self._start(request.query.get("start", "0"))
        shown = self.dataset.rows[start : start + ROWS_SHOWN]
        found = [self._columns(row) for row in shown]
        return web.json_response(
            {
                "dataset": self.dataset.name,
                "stem": self.dataset.stem,
                "total": self.dataset.total,
                "unread": self.dataset.unread,
                "rows": len(self.dataset.rows),
                "start": start,
                "columns": columns_seen(map(self._columns, self.dataset.rows)),
                "shown": [
                    {
                        "id": row.id,
                        "source": row.source or "",
                        "cells": {name: _cell(value) for name, value in columns.items()},
                    }
                    for row, columns in zip(shown, found, strict=True)
                ],
            }
        )

    def _start(self, given: Any) -> int:
        if not re.fullmatch(r"\d{1,9}", str(given)):
            raise UsageError(f"start is the number of a row, not {given!r:.50}")
        return min(int(given), max(len(self.dataset.rows) - 1, 0)) // ROWS_SHOWN * ROWS_SHOWN

    async def files(self, _: web.Request) -> web.StreamResponse:
        """Answer with the files of the folder and their templates."""
        files = [
            {
                "name": one.name,
                "digest": one.digest,
                "error": one.error,
                "dataset": one.collection.title if one.collection else None,
                "templates": [
                    {
                        "name": t.name,
                        "jinja": t.jinja,
                        "answer_choices": t.answer_choices or "",
                        "metadata": json.loads(json.dumps(dict(t.metadata), default=str)),
                    }
                    for t in (one.collection.templates if one.collection else ())
                ],
            }
            for one in self.folder.files()
        ]
        return web.json_response({"files": files})

    async def render(self, request: web.Request) -> web.StreamResponse:
        """Answer with what a draft makes of the rows that are shown."""
        given = await body_of(request)
        template = template_of({**given, "name": given.get("name") or "unnamed"})
        start = self._start(given.get("start", 0))
        rows = self.dataset.rows[start : start + ROWS_SHOWN]
        return web.json_response(await asyncio.to_thread(tried, template, rows))

    async def save(self, request: web.Request) -> web.StreamResponse:
        """Save a draft, and answer with the command that runs it on all rows."""
        given = await body_of(request)
        template = template_of(given)
        seen, title = given.get("seen"), given.get("dataset") or self.dataset.stem
        if not isinstance(seen, str | None) or not isinstance(title, str):
            raise UsageError("seen and dataset are texts")
        path = self.folder.file(given.get("file"))
        # Before the file's own check, which nothing could stop.
        found = await asyncio.to_thread(tried, template, self.dataset.rows[:ROWS_SHOWN])
        if wrong := [one["message"] for one in found["faults"] if one["stops"]]:
            raise UsageError(f"the template cannot be saved: {wrong[0]}")
        replace = given.get("replace") is True
        self.folder.save(path.name, title, template, seen=seen, replace=replace)
        words = ["curate", "generate", f"template:collection={path}", self.dataset.name]
        words += ["--shape", self.dataset.shape] if self.dataset.shape else []
        command = shlex.join([*words, "-o", f"{path.stem}_tasks.jsonl"])
        return web.json_response({"path": str(path), "command": command})

    async def figures(self, request: web.Request) -> web.StreamResponse:
        """Answer with what each template of a file makes of all rows, in numbers."""
        given = await body_of(request)
        name = self.folder.file(given.get("file")).name
        found = next((one for one in self.folder.files() if one.name == name), None)
        if found is None or found.collection is None:
            raise UsageError(found.error or name if found else f"there is no file {name}")
        rows = self.dataset.rows
        return web.json_response(
            {
                "file": name,
                "templates": [
                    {"name": t.name, **await asyncio.to_thread(counted, t, rows)}
                    for t in found.collection.templates
                ],
            }
        )


def columns_seen(rows: Iterator[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns of some rows: how often each type occurs, how many values, and examples.

    `values` are all of them with their counts where there are few, and else the first ones.
    """
    types: dict[str, dict[str, int]] = {}
    values: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, value in row.items():
            kind = "nothing" if value is None else _TYPES.get(type(value), "mapping")
            own = types.setdefault(name, {})
            own[kind] = own.get(kind, 0) + 1
            seen, cell = values.setdefault(name, {}), _cell(value)
            seen[cell] = seen.get(cell, 0) + 1
    found = []
    for name, own in types.items():
        counts = values[name]
        shown = [value[:80] for value in list(counts)[:_EXAMPLES]]
        if len(counts) <= _MOST_VALUES < sum(counts.values()):
            ranked = sorted(counts.items(), key=lambda one: -one[1])
            shown = [f"{value[:80]} ({count:,})" for value, count in ranked]
        found.append({"name": name, "types": own, "distinct": len(counts), "values": shown})
    return found


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CELL else f"{text[:_MOST_CELL]} … ({len(text):,} characters)"


def serve_templates(
    dataset: TriedRows,
    folder: TemplateFolder,
    settings: Labels,
    port: int,
    tell: Callable[[str], None],
    *,
    guarded: bool = True,
) -> None:
    """Serve a page of templates until Ctrl-C; `tell` gets the address to open.

    Raises:
        UsageError: the port is taken.
    """
    routes = TemplateWriter(dataset, folder).routes()
    serve_page(LocalPage("templates", routes, settings, guarded=guarded), port, tell)
