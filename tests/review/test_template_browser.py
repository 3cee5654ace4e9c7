"""The page of templates in a browser: browse, write, see, save; and the step runs what it saved."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.prompts import collection as collections
from curate.review.label_events import Labels
from tests.page.conftest import hostile
from tests.review.conftest import Served
from tests.review.test_browser import status_of

pytestmark = pytest.mark.slow


def table(folder: Path, count: int = 25) -> None:
    lines = [{"text": f"Headline {n}", "label": n % 3, "id": n} for n in range(count)]
    (folder / "news.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def opened(browser: Any, served: Served, **settings: Any) -> Any:
    from playwright.sync_api import expect

    # A busy machine is slow, and not wrong.
    expect.set_options(timeout=120_000)
    page = browser.new_context(**settings).new_page()
    page.faults = []
    page.on("pageerror", lambda found: page.faults.append(str(found)))
    page.on("console", lambda said: said.type == "error" and page.faults.append(said.text))
    page.goto(served.address)
    assert "token" not in page.url
    return page


def test_a_template_is_written_seen_saved_and_run(
    review: Callable[..., Served], browser: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    table(tmp_path)
    page = opened(browser, review("news.jsonl", "--templates", "--port", "0"))
    expect(page.locator("#dataset")).to_have_text("news.jsonl: 25 rows")
    expect(page.locator("#columns tbody tr")).to_have_count(3)
    expect(page.locator("#columns")).to_contain_text("0 (9) · 1 (8) · 2 (8)")
    page.locator("#on").click()
    expect(page.locator("#place")).to_have_text("rows 11 to 20 of 25")
    expect(page.locator("#rows tbody tr").first).to_contain_text("Headline 10")
    # A template that is wrong is told so at its line, in words.
    page.locator("#jinja").fill("{{ text }}\n{% if lable == 1 %}\n|||\nyes")
    faults = page.locator("#jinja-faults")
    expect(faults).to_contain_text("Unexpected end of template")
    page.locator("#jinja").fill("{{ text }}\nIs it {{ answer_choices | join(' or ') }}?\n|||\n")
    expect(faults).to_contain_text("line 2: there are no answer choices")
    page.locator("#choices").fill("sports ||| business")
    page.locator("#jinja").press("Control+End")
    page.locator("#jinja").press_sequentially("{{ answer_choices[lable] }}")
    expect(faults).to_contain_text("line 4: no row here has a column 'lable'")
    for _ in range(len("lable] }}")):
        page.locator("#jinja").press("Backspace")
    page.locator("#jinja").press_sequentially("label] }}")
    expect(faults.locator("li")).to_have_count(0)
    # Labels 0 and 1 have a choice, 2 has none.
    expect(page.locator("#summary")).to_have_text("7 of these 10 rows make a task")
    first = page.locator("#rendered article").first
    expect(first).to_contain_text("Headline 10\nIs it sports or business?")
    expect(first.locator("section").last).to_contain_text("business")
    expect(page.locator("#rendered article").nth(1)).to_contain_text("fails: template 'unnamed'")
    page.locator("#original").check()
    page.locator("#in-prompt").check()
    # A file's name leads nowhere else.
    page.locator("#name").fill("which kind")
    page.locator("#new-file").fill("../news")
    page.locator("#save").click()
    expect(page.locator("#saved")).to_contain_text("not saved: the file's name is '../news'")
    page.locator("#new-file").fill("news")
    page.locator("#save").click()
    expect(page.locator("#where")).to_contain_text("curate generate template:collection=")
    expect(page.locator("#saved")).to_have_text("saved")
    expect(page.locator("#file")).to_have_value("news.yaml")
    # The same name is no accident when it is said; a file that changed is not written over.
    expect(page.locator("#save")).to_have_text("Save over “which kind”")
    path = tmp_path / "templates" / "news.yaml"
    path.write_text("# by hand\n" + path.read_text())
    page.locator("#jinja").fill("{{ text }} ||| {{ answer_choices[label] }}")
    page.locator("#save").click()
    expect(page.locator("#saved")).to_contain_text("was changed since it was read")
    assert "Is it" in path.read_text()
    page.locator("#save").click()
    expect(page.locator("#saved")).to_have_text("saved")
    assert path.read_text().startswith("# by hand\n") and "Is it" not in path.read_text()
    page.locator("#template").select_option("")
    page.locator("#jinja").fill("{{ text }} ||| {{ label }}")
    page.locator("#save").click()
    expect(page.locator("#saved")).to_contain_text("has a template 'which kind' already")
    page.locator("#name").fill("plain")
    page.locator("#choices").fill("")
    page.locator("#save").click()
    expect(page.locator("#saved")).to_have_text("saved")
    expect(page.locator("#where")).to_contain_text("Saved in")
    page.locator("#count").click()
    expect(page.locator("#counting")).to_contain_text("2 templates, on 25 rows")
    expect(page.locator("#figures tbody tr").last).to_contain_text("100.0 %")
    # The page says the draft again after it is loaded again.
    page.reload()
    expect(page.locator("#jinja")).to_have_value("{{ text }} ||| {{ label }}")
    assert [fault for fault in page.faults if "status of 4" not in fault] == []
    page.context.close()
    names = [one.name for one in collections.load(str(path)).templates]
    assert names == ["which kind", "plain"]
    recipe = tmp_path / "run.yaml"
    recipe.write_text(
        "inputs: {news: {path: news.jsonl, shape: table}}\n"
        "steps: [{template: {collection: templates/news.yaml, templates: [plain]}}]\n"
    )
    command = [sys.executable, "-m", "curate", "run", "run.yaml", "-o", "out"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "25 in + 25 made = 25 kept" in ran.stdout


def test_a_hostile_template_stops_and_the_page_goes_on(
    review: Callable[..., Served], browser: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    table(tmp_path)
    page = opened(browser, review("news.jsonl", "--templates", "--port", "0"))
    expect(page.locator("#rows tbody tr")).to_have_count(10)
    page.locator("#jinja").fill(
        "{% for a in range(190000) %}{% for b in range(190000) %}{% endfor %}{% endfor %} ||| b"
    )
    summary = page.locator("#summary")
    expect(page.locator("#rendered")).to_contain_text("more than 200,000 rounds")
    page.locator("#jinja").fill("{{ text }} ||| b")
    expect(summary).to_have_text("10 of these 10 rows make a task")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_cells_stay_text_and_axe_finds_no_fault(
    scheme: str, review: Callable[..., Served], browser: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    lines = [{"text": text, "<b>PWNED</b>": text} for text in hostile(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    served = review("rows.jsonl", "--templates", "--port", "0")
    page = opened(browser, served, color_scheme=scheme)
    page.locator("#choices").fill("{{ text }} ||| b")
    page.locator("#jinja").fill("{{ text }} ||| {{ wrong }}{{ text }}")
    page.locator("#name").fill("<img src=x onerror='window.PWNED=1'>")
    page.locator("#save").click()
    expect(page.locator("#where")).to_contain_text("Saved in")
    page.locator("#count").click()
    expect(page.locator("#counting")).to_contain_text("1 templates")
    expect(page.locator("#rendered article")).to_have_count(8)
    # Half of a surrogate pair is not text: that record was not read, and the page says so.
    expect(page.locator("#dataset")).to_have_text("rows.jsonl: 8 rows; 1 could not be read")
    expect(page.locator("#jinja-faults li")).to_have_count(1)
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text())
    for jinja, faults in (("", 1), ("{{ text }} ||| {{ text }}", 0), ("{{ ", 1)):
        if jinja:
            page.locator("#jinja").fill(jinja)
        expect(page.locator("#jinja-faults li")).to_have_count(faults)
        found = page.evaluate("axe.run()")
        said = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
        assert said == []
    assert page.evaluate("window.PWNED === undefined")
    page.context.close()


def test_another_page_saves_no_template(review: Callable[..., Served], tmp_path: Path) -> None:
    table(tmp_path)
    served = review("news.jsonl", "--templates", "--port", "0")
    with Labels(tmp_path / "templates" / ".review.sqlite") as settings:
        own = {
            "Cookie": f"curate-review={settings.setting('token')}",
            "Origin": served.at,
            "X_Curate_Token": settings.setting("page token"),
            "Content_Type": "application/json",
        }
    body = {"name": "a", "jinja": "{{ text }} ||| b", "file": "a"}
    for name, value in [
        ("Origin", f"http://127.0.0.1:{served.port + 1}"),
        ("X_Curate_Token", "wrong"),
        ("Content_Type", "text/plain"),
        ("Sec_Fetch_Site", "cross-site"),
        ("Cookie", ""),
    ]:
        for path in ("/save", "/render", "/figures"):
            assert status_of(served, path, body, **{**own, name: value}) == 403
    assert status_of(served, "/rows") == 403
    assert not list((tmp_path / "templates").glob("*.yaml"))
    assert status_of(served, "/save", body, **own) == 200
    assert served.interrupt() == 0
