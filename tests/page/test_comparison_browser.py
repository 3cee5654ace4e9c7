"""The page of two runs in a browser: offline, from disk, whatever the rows hold."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from curate.page import write_comparison, write_dataset_comparison
from tests.page.conftest import STEPS, assert_accessible, made

pytestmark = [pytest.mark.real, pytest.mark.slow]


def page_of(folder: Path, port: int = 9) -> Path:
    """Return the page of two runs whose rows mean harm."""
    first = made(folder / "a", [*STEPS, "exact"], port)
    second = made(folder / "b", [{"length": {"min": 9, "on": "response"}}], port, count=140)
    table = {"scale": {"rows": [120.0, 140.0]}, "cost": {}, "quality": {"mean <b>": [None, 0.5]}}
    runs = (first.folder, second.folder)
    return write_comparison(runs, folder / "page.html", datasets=table).path


def test_changed_rows_are_found_by_their_change(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = opened(page_of(tmp_path))
    lines = page.locator("#body tr")
    expect(lines).to_have_count(50)
    choice = page.locator("#ended option", has_text="kept → dropped by length").first
    page.locator("#ended").select_option(label=choice.inner_text())
    expect(lines.first.locator("td").first).to_contain_text("kept → dropped by length")
    expect(page.locator("#found")).to_have_text(re.compile(r"^\d+ rows$"))
    page.locator("#find").fill("no such text anywhere")
    expect(page.locator("#found")).to_have_text("0 rows")
    assert page.faults == []


def test_hostile_rows_run_nothing(opened: Any, server: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    path = page_of(tmp_path, server.server_address[1])
    page = opened(path, offline=False)
    for each in page.locator("details").all():
        each.evaluate("e => { e.open = true; }")
    page.locator("#find").fill("PWNED")
    expect(page.locator("#body .text").first).to_contain_text("PWNED")
    assert page.evaluate("window.PWNED === undefined")
    assert page.url == path.as_uri() and server.hits == [] and page.faults == []
    # Without escapes and policy the same rows do harm.
    bare = tmp_path / "bare.html"
    bare.write_text(html.unescape(re.sub(r"<meta http-equiv=[^>]*>", "", path.read_text())))
    page = opened(bare, quiet=False, offline=False)
    expect(page.locator("html")).to_be_attached()
    page.wait_for_timeout(300)
    assert page.evaluate("window.PWNED !== undefined") and server.hits


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_no_fault(scheme: str, width: int, opened: Any, tmp_path: Path) -> None:
    window = {"width": width, "height": 800}
    page = opened(page_of(tmp_path), color_scheme=scheme, viewport=window)
    assert_accessible(page, width)


def test_a_page_of_files_opens(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    table = {"scale": {"rows": [3.0, 4.0]}}
    path = tmp_path / "page.html"
    page = opened(write_dataset_comparison(("a.jsonl", "b.jsonl"), table, path).path)
    expect(page.locator("#datasets tbody tr")).to_have_count(2)
    assert page.locator("#table").count() == 0


def test_it_reads_without_a_script(opened: Any, tmp_path: Path) -> None:
    page = opened(page_of(tmp_path), quiet=False, java_script_enabled=False)
    assert "are kept by both" in page.locator("#verdict").inner_text()
    assert page.locator("#funnel tbody tr").count() == 6
    assert page.locator("#changes .example").first.is_visible()
    assert not page.locator("#table").is_visible()
