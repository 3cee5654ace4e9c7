"""The page in a browser: offline, from disk, whatever the rows hold."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from curate.page import write_page
from curate.pipeline import Pipeline
from tests.page.conftest import STEPS, assert_accessible, made
from tests.page.test_page import data_of

pytestmark = pytest.mark.real


def numbers(text: str) -> list[int]:
    return [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)]


def test_the_slider_says_what_a_run_would(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    result = made(tmp_path, STEPS)
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    slider, said = page.locator("#slider0"), page.locator("#whatif0")
    expect(said).to_have_text(re.compile(r"min 5 \(as it ran\): "))
    assert numbers(said.inner_text())[1:] == [
        result.summary["steps"][0]["kept"],
        result.summary["kept"],
    ]
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    expect(said).not_to_contain_text("as it ran")
    stop = numbers(said.locator("b").inner_text())[0]
    assert stop > 5
    stricter = result.rethreshold(length={"min": stop})
    expect(said.locator("[data-passes]")).to_have_text(str(stricter.summary["steps"][0]["kept"]))
    expect(said.locator("[data-kept]")).to_have_text(str(stricter.summary["kept"]))
    slider.press("Home")
    expect(said.locator("[data-kept]")).to_have_count(0)
    looser = result.rethreshold(length={"min": numbers(said.locator("b").inner_text())[0]})
    expect(said.locator("[data-passes]")).to_have_text(str(looser.summary["steps"][0]["kept"]))
    expect(said.locator("code")).to_contain_text("curate run ")
    assert page.faults == []


def test_the_thumb_of_the_slider_stands_below_the_line_of_its_threshold(
    opened: Any, tmp_path: Path
) -> None:
    # Of the scores a few lie far above the others: they have a bar of their own, beyond the slider.
    words = [*range(1, 300), 5000]
    lines = [{"instruction": f"Say {k}", "output": "word " * k} for k in words]
    steps = [{"length": {"on": "response", "min": 40}}]
    recipe = Pipeline.from_yaml(json.dumps({"steps": steps}))
    result = recipe.run(lines, run=tmp_path / "run", store=tmp_path / "store")
    path = write_page(result.folder, tmp_path / "page.html").path
    for width in (390, 1200):
        page = opened(path, viewport={"width": width, "height": 800})
        slider, line = page.locator("#slider0"), page.locator("#then0")
        bars = page.locator("#scores rect.kept")
        slider.focus()
        for key in ("Home", "End", "ArrowLeft"):
            slider.press(key)
            box, edge = slider.bounding_box(), line.bounding_box()
            # The thumb of Chromium is 16 pixels wide.
            thumb = box["x"] + 8 + (box["width"] - 16) * int(slider.input_value()) / 1000
            assert thumb == pytest.approx(edge["x"] + edge["width"] / 2, abs=1.5)
        assert bars.count() > 30 and bars.last.bounding_box()["x"] > edge["x"] + edge["width"]
        title = page.locator("#scores g title").last
        assert title.text_content().startswith("above ")


def test_with_a_later_deduplication_no_slider_claims_what_is_kept(
    opened: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    result = made(tmp_path, [*STEPS[:1], "near"])
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    slider, said = page.locator("#slider0"), page.locator("#whatif0")
    slider.focus()
    for key in ("ArrowRight", "End", "Home"):
        slider.press(key)
        expect(said).to_contain_text("only a run can tell")
        expect(said.locator("[data-kept]")).to_have_count(0)


def test_the_command_on_the_page_runs(opened: Any, tmp_path: Path) -> None:
    import shlex
    import subprocess
    import sys

    result = made(tmp_path, [*STEPS[:1], "near"])
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    page.locator("#slider0").focus()
    page.locator("#slider0").press("ArrowRight")
    words = shlex.split(page.locator("#whatif0 code").inner_text())
    assert words[:2] == ["curate", "run"]
    # Half a surrogate pair is not text: those rows fail, in either run.
    command = [sys.executable, "-m", "curate", *words[1:], "--allow-failed", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    passes = numbers(page.locator("#whatif0 [data-passes]").inner_text())[0]
    report = json.loads((tmp_path / words[-1] / "report.json").read_text())
    assert report["steps"][0]["kept"] == passes


def test_hostile_rows_run_nothing(opened: Any, server: Any, tmp_path: Path) -> None:
    result = made(tmp_path, STEPS, server.server_address[1])
    path = write_page(result.folder, tmp_path / "page.html").path
    page = opened(path, offline=False)
    for each in page.locator("details").all():
        each.evaluate("e => { e.open = true; }")
    page.locator("#find").fill("PWNED")
    page.wait_for_timeout(300)
    assert page.evaluate("window.PWNED === undefined")
    assert page.url == path.as_uri() and server.hits == [] and page.faults == []


def test_without_escapes_and_policy_the_same_rows_do_harm(
    opened: Any, server: Any, tmp_path: Path
) -> None:
    result = made(tmp_path, STEPS, server.server_address[1])
    text = write_page(result.folder, tmp_path / "page.html").path.read_text()
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    bare = tmp_path / "bare.html"
    bare.write_text(html.unescape(text))
    page = opened(bare, quiet=False, offline=False)
    page.wait_for_timeout(300)
    assert page.evaluate("window.PWNED !== undefined") and server.hits


def test_the_map_shows_the_row_under_the_pointer(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    result = made(tmp_path, [{"style_report": {}}, {"sample": {"count": 60}}])
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    canvas, card = page.locator("#canvas"), page.locator("#card")
    canvas.focus()
    canvas.press("ArrowRight")
    expect(card.locator(".text")).to_be_visible()
    first = card.inner_text()
    row = card.locator("p").first.inner_text().split(",")[0]
    record = json.dumps(result.explain(row).record, ensure_ascii=False)
    assert card.locator(".answer").inner_text()[:20] in record
    canvas.press("ArrowLeft")
    canvas.press("ArrowUp")
    expect(card).not_to_have_text(first)
    # The pointer meets the row whose place on the map is nearest.
    (first_map,) = data_of(tmp_path / "page.html")["maps"]
    ids = data_of(tmp_path / "page.html")["rows"]["id"]
    there = [k for k, x in enumerate(first_map["x"]) if x is not None]
    box = canvas.bounding_box()
    axes = []
    for values, start, size, sign in (
        (first_map["x"], box["x"], box["width"], 1),
        (first_map["y"], box["y"], box["height"], -1),
    ):
        low, high = min(values[k] for k in there), max(values[k] for k in there)
        share = {k: (values[k] - low) / (high - low) for k in there}
        axes.append(
            {k: start + 12 + (size - 24) * (at if sign == 1 else 1 - at) for k, at in share.items()}
        )
    for k in there[:: len(there) // 12]:
        page.mouse.move(axes[0][k], axes[1][k])
        near = {
            ids[other][:8]
            for other in there
            if abs(axes[0][other] - axes[0][k]) + abs(axes[1][other] - axes[1][k]) < 1
        }
        expect(card.locator("p").first).to_have_text(re.compile("|".join(near)))
    assert page.faults == []


def test_the_legend_shows_the_shapes_of_the_map(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    result = made(tmp_path, [{"style_report": {}}, {"sample": {"count": 60}}])
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    expect(page.locator("#card")).to_have_text("The row under the pointer is shown here.")
    marks = page.locator("#legend path")
    expect(marks).to_have_count(2)
    assert len({mark.get_attribute("d") for mark in marks.all()}) == 2


def test_rows_are_found_sorted_and_turned(opened: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    result = made(tmp_path, STEPS, count=300)
    page = opened(write_page(result.folder, tmp_path / "page.html").path)
    lines = page.locator("#body tr")
    expect(lines).to_have_count(50)
    page.locator("#on").click()
    expect(page.locator("#page")).to_have_text("51 to 100")
    page.get_by_role("button", name="words").click()
    words = [int(cell.inner_text()) for cell in page.locator("#body td.n").all()]
    assert words == sorted(words)
    page.get_by_role("button", name="words").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_count(1)
    page.locator("#ended").select_option(index=1)
    page.locator("#find").fill("no such text anywhere")
    expect(page.locator("#found")).to_have_text("0 rows")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_no_fault(scheme: str, width: int, opened: Any, tmp_path: Path) -> None:
    steps = [*STEPS, {"style_report": {}}, "exact"]
    result = made(tmp_path, steps)
    page = opened(
        write_page(result.folder, tmp_path / "page.html").path,
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    assert_accessible(page, width)


def test_it_reads_without_a_script(opened: Any, tmp_path: Path) -> None:
    result = made(tmp_path, STEPS)
    path = write_page(result.folder, tmp_path / "page.html").path
    page = opened(path, quiet=False, java_script_enabled=False)
    assert page.locator("#verdict").inner_text().startswith("120 rows came in")
    assert page.locator("#funnel tbody tr").count() == 2
    assert page.locator("#reasons summary").first.is_visible()
    assert page.locator("#reasons .example").first.is_visible()
    assert (
        not page.locator("#table").is_visible() and not page.locator(".slider").first.is_visible()
    )


def test_the_picture_of_the_docs(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CURATE_PICTURES=1 the pictures are taken anew."""
    import os

    from tests.house.places import ROOT

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    run = Pipeline.from_yaml(ROOT / "pipelines" / "quickstart.yaml").run(
        run="runs/quickstart", output="out.jsonl"
    )
    path = write_page(run.folder, tmp_path / "page.html").path
    page = opened(path, viewport={"width": 1000, "height": 640}, color_scheme="light")
    said = " ".join(page.locator("#verdict").inner_text().split())
    assert said in " ".join((ROOT / "docs/how-to/look-at-a-run.md").read_text().split())
    pictures = {"report": "header", "report-scores": "#scores"}
    for name, place in pictures.items():
        page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
        if place == "#scores":
            page.locator("#slider0").focus()
            for _ in range(13):
                page.locator("#slider0").press("ArrowRight")
        taken = ROOT / "docs" / "images" / f"{name}.png"
        if os.environ.get("CURATE_PICTURES"):
            page.screenshot(path=taken)
        assert taken.read_bytes()[:4] == b"\x89PNG"
