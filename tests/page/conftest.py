"""Runs of rows that mean harm, and a browser to look at them with."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result


def hostile(port: int) -> list[str]:
    """Return texts that reach a server or set a flag wherever they are taken for markup."""
    at = f"http://127.0.0.1:{port}"
    return [
        "<script>window.PWNED = 1</script>",
        f"</script><script>window.PWNED = 2; fetch('{at}/fetch')</script>",
        f"<img src='{at}/image' onerror='window.PWNED = 3'>",
        f"<link rel=stylesheet href='{at}/style'><style>@import url({at}/import)</style>",
        f"<svg onload='window.PWNED = 4'></svg><iframe src='{at}/frame'></iframe>",
        "\"'><a href='javascript:window.PWNED = 5' autofocus onfocus='window.PWNED = 6'>x</a>",
        "\x1b[31mred\x1b]0;title\x07 and \u202egnp.exe\u202c, \u2028 line, \ud800 half",
        "{{ 7 * 7 }} {% raw %} &lt;b&gt; </p></div></body>",
        "مرحبا بالعالم and then English",
    ]


def rows(port: int, count: int = 120) -> list[dict[str, Any]]:
    """Return rows of growing length, some hostile, with near duplicates among them."""
    texts = hostile(port)
    found = []
    for number in range(count):
        words = " ".join(f"word{number * k % 37}" for k in range(2 + number % 29))
        ask = f"Tell me about {words}" if number % 3 else texts[number // 3 % len(texts)]
        found.append({"instruction": f"{ask} {number % 90}", "output": f"It is {words}."})
    return found


STEPS = [{"length": {"min": 5, "on": "response"}}, {"charset": {"min": 0.74, "on": "response"}}]


def made(folder: Path, steps: list[Any], port: int = 9, count: int = 120) -> Result:
    """Return a finished run of those rows."""
    import json

    source = folder / "rows.jsonl"
    source.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row) for row in rows(port, count))
    source.write_text("".join(f"{line}\n" for line in lines))
    recipe = Pipeline.from_yaml(json.dumps({"inputs": str(source), "steps": steps}))
    return recipe.run(run=folder / "run", store=folder / "store")


class Counting(http.server.BaseHTTPRequestHandler):
    """Counts what reaches it."""

    hits: list[str]

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    """A server that notes each request in its `hits`."""
    handler = type("Handler", (Counting,), {"hits": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        found.hits = handler.hits  # type: ignore[attr-defined]
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def opened(browser: Any) -> Any:
    """Open a page, offline by default; what goes wrong in it ends the test."""
    contexts = []

    def open_page(path: Path, *, quiet: bool = True, **settings: Any) -> Any:
        context = browser.new_context(**{"offline": True, **settings})
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        for event in ("console", "pageerror", "dialog"):
            page.on(event, lambda found: page.faults.append(str(getattr(found, "text", found))))
        page.goto(path.as_uri())
        if quiet:
            page.wait_for_selector('html[data-ready="1"]')
            assert page.faults == []
        return page

    yield open_page
    for context in contexts:
        context.close()


def assert_accessible(page: Any, width: int) -> None:
    """Check with axe-core, every part unfolded, and that nothing is wider than the window."""
    import importlib.util

    for each in page.locator("details").all():
        each.evaluate("e => { e.open = true; }")
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    said = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
    assert said == [] and len(found["passes"]) > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width
