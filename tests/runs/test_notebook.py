"""What a notebook shows of results, rows and reports: small tables, and no text is markup."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result
from curate.runs.notebook import ReportText, lines_html, table_html, text_html
from curate.steps import Exact, Length
from tests.house.places import ROOT
from tests.page.conftest import hostile

ALLOWED = {"p", "b", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}


class Shown(HTMLParser):
    """The elements, attributes and texts of a piece of HTML; each element must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("notebook")
    texts = [text.replace("\ud800", "?") for text in hostile(9)]
    rows = [{"instruction": f"{text} {k}", "output": "x " * k} for k, text in enumerate(texts * 3)]
    return Pipeline([Length(min=8), Exact()]).run(rows, run=folder / "<i>run", store=folder / "s")


def shown(thing: Any) -> Shown:
    found = Shown(thing._repr_html_())
    assert found.tags.keys() <= ALLOWED and found.attributes <= {"align", "dir"}
    return found


def test_a_result_shows_its_funnel(run: Result) -> None:
    found = shown(run)
    kept, whole = run.summary["kept"], run.summary["in"]
    assert found.cells[0] == f"{kept} of {whole} rows kept"
    assert found.tags["tr"] == 3
    step = run.summary["steps"][0]
    at = found.cells.index("length")
    names = ("in", "made", "used", "dropped", "failed", "kept")
    assert found.cells[at + 1 : at + 7] == [str(step[name]) for name in names]
    assert f"curate report {run.folder} --html report.html" in "".join(found.cells)


def test_rows_show_their_first_texts(run: Result) -> None:
    found = shown(run.dropped)
    said = "".join(found.cells)
    assert found.tags["tr"] == 6 and f"{len(run.dropped)} rows in" in said
    assert f"… and {len(run.dropped) - 5} more" in said
    assert "<script>" in said and "\u202e" not in said and "\x1b" not in said
    assert len(run.dropped._repr_html_()) < 6000
    nothing = shown(run.used)
    assert nothing.tags["table"] == 0 and "0 rows in" in "".join(nothing.cells)


def test_lines_that_could_not_be_read_are_shown_beside_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{broken\n', encoding="utf-8")
    result = Pipeline([], inputs=str(path)).run(run=tmp_path / "run", allow_failed=1.0)
    (row,) = result.failed
    assert shown(result.failed).cells[-2:] == [row.id[:8], "unreadable"]


def test_reports_and_histories_keep_their_columns(run: Result) -> None:
    report = run.report()
    assert isinstance(report, ReportText) and report == str(report)
    assert "".join(shown(report).cells) == str(report)
    history = run.explain(next(iter(run.dropped)).id)
    assert "".join(shown(history).cells) == str(history)


def test_a_dry_run_shows_what_would_be_done(run: Result, tmp_path: Path) -> None:
    planned = Pipeline([Length(min=3)]).run(
        [{"instruction": "<b>", "output": "x"}], run=tmp_path / "run", dry_run=True
    )
    assert '"dry_run": true' in "".join(shown(planned).cells)


def test_no_text_is_cut_inside_an_escape() -> None:
    assert text_html("\x1b" * 300, 3) == "\\x1b" * 3 + "…"
    assert text_html("<" * 10, 10) == "&lt;" * 10
    assert lines_html("a <b>\n\u202ec\r") == "<pre>a &lt;b&gt;\n\\u202ec</pre>"
    assert table_html(["<a>"], [["<b>", 1000]]).count("<b>") == 0


CELLS = (
    """
from curate import Pipeline
from curate.steps import Exact, Length
rows = [{"instruction": f"<script>{k}</script>", "output": "x " * k} for k in range(40)]
result = Pipeline([Length(min=8), Exact()]).run(rows, run="run", store="store")
result
""",
    "result.dropped",
    "result.report()",
    "result.explain(next(iter(result.dropped)).id)",
)
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.mark.real
def test_a_notebook_shows_results_rows_reports_and_histories(tools: Path, tmp_path: Path) -> None:
    # The kernel is the tools' own, and imports what this process does.
    python = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [str(tools / "python"), "-c", EXECUTE, json.dumps(CELLS)]
    done = subprocess.run(
        command, cwd=tmp_path, env=python, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    # The line of progress is gone at the end, and nothing else was printed.
    assert [output["output_type"] for output in outputs[0]] == ["display_data", "execute_result"]
    assert outputs[0][0]["data"] == {"text/plain": ""}
    pages = ["".join(cell[-1]["data"]["text/html"]) for cell in outputs]
    for page in pages:
        found = Shown(page)
        assert found.tags.keys() <= ALLOWED
    assert "32 of 40 rows kept" in pages[0] and "<table>" in pages[0]
    assert "8 rows in" in pages[1]
    assert "&lt;script&gt;0&lt;/script&gt;" in pages[1]
    assert "40 in + 0 made = 32 kept" in pages[2] and "fewer than 8 words" in pages[3]
