"""The page of two runs: its numbers are theirs, and what their rows hold stays text."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.errors import UsageError
from curate.page import write_comparison
from curate.page.changed_rows import ABSENT, changed_rows
from curate.pipeline import Pipeline, Result
from curate.runs.ledger_scores import ledger_scores
from tests.page.conftest import STEPS, made
from tests.page.test_page import data_of


def ends_of(result: Result) -> dict[str, tuple[str, str, str]]:
    """Return how each row ended, from the data frames that users read."""
    found = {}
    for outcome, why in (("kept", ""), ("used", ""), ("dropped", "reason"), ("failed", "error")):
        for line in getattr(result, outcome).to_pandas().to_dict("records"):
            found[line["id"]] = (outcome, line["step"] if why else "", line[why] if why else "")
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result]:
    """A run, and one of other rules over more rows."""
    folder = tmp_path_factory.mktemp("pair")
    first = made(folder / "a", [*STEPS, "exact"], count=90)
    stricter = {"length": {"min": 9, "max": 20, "on": "response"}}
    return first, made(folder / "b", [stricter, STEPS[1]], count=110)


def test_changes_are_those_of_every_row(pair: tuple[Result, Result]) -> None:
    first, second = map(ends_of, pair)
    found = changed_rows(pair[0].folder, pair[1].folder, 10_000)
    expected = Counter(
        (first.get(row, ABSENT), second.get(row, ABSENT))
        for row in first.keys() | second.keys()
        if first.get(row) != second.get(row)
    )
    assert Counter({(c.before, c.after): c.rows for c in found.changes}) == expected
    assert {c.before[0] for c in found.changes} >= {"kept", "dropped", "absent"}
    assert found.changed == sum(expected.values()) == len(found.columns["id"])
    for row, change in zip(found.columns["id"], found.columns["end"], strict=True):
        assert found.changes[change].before == first.get(row, ABSENT)
        assert found.changes[change].after == second.get(row, ABSENT)
    kept = [{row for row, end in of.items() if end[0] == "kept"} for of in (first, second)]
    assert found.both == len(kept[0] & kept[1]) > 0
    assert (found.first, found.second) == (len(kept[0] - kept[1]), len(kept[1] - kept[0]))
    assert found.shared == len(first.keys() & second.keys())
    counts = [c.rows for c in found.changes]
    assert counts == sorted(counts, reverse=True)


def test_texts_are_those_of_the_rows(pair: tuple[Result, Result]) -> None:
    found = changed_rows(pair[0].folder, pair[1].folder, 10_000)
    texts = {
        row.id: row.instruction
        for result in pair
        for outcome in ("kept", "dropped")
        for row in getattr(result, outcome)
    }
    for row, ask in zip(found.columns["id"], found.columns["ask"], strict=True):
        if row in texts:
            assert ask == texts[row][:400].encode("utf-8", "replace").decode()


def test_some_of_every_change_are_drawn(pair: tuple[Result, Result]) -> None:
    every = changed_rows(pair[0].folder, pair[1].folder, 10_000)
    few = changed_rows(pair[0].folder, pair[1].folder, 1)
    drawn = Counter(few.columns["end"])
    for number, change in enumerate(every.changes):
        assert drawn[number] >= min(20, change.rows)
    assert few.changes == every.changes and len(few.columns["id"]) <= len(every.columns["id"])


def test_the_page_says_what_the_runs_say(pair: tuple[Result, Result], tmp_path: Path) -> None:
    page = write_comparison((pair[0].folder, pair[1].folder), tmp_path / "page.html")
    text = page.path.read_text()
    found = changed_rows(pair[0].folder, pair[1].folder, 10_000)
    verdict = " ".join(re.sub("<[^>]*>", "", text[text.index('id="verdict">') :][13:700]).split())
    kept = [result.summary["kept"] for result in pair]
    assert f"kept {kept[0]} of 90 rows" in verdict and f"{kept[1]} of 110" in verdict
    assert f"{found.both} are kept by both; {found.first} only by" in verdict
    assert f"<td>{'fewer than 9 words'}</td>" in text
    assert page.rows == page.drawn_from == found.changed
    data = data_of(page.path)
    assert len(data["rows"]["id"]) == len(data["rows"]["end"]) == found.changed
    assert "kept → dropped by length: fewer than 9 words" in [end[0] for end in data["ends"]]
    again = write_comparison((pair[0].folder, pair[1].folder), tmp_path / "again.html")
    assert again.path.read_bytes() == page.path.read_bytes()


def test_scores_lie_over_one_another_as_shares(pair: tuple[Result, Result], tmp_path: Path) -> None:
    path = write_comparison((pair[0].folder, pair[1].folder), tmp_path / "page.html").path
    text = path.read_text()
    titles = re.findall(r"<title>([^<:]+): (first [^<]*)</title>", text)
    beyond = sum(int(n) for pair in re.findall(r"(\d+) lower, (\d+) higher", text) for n in pair)
    scored = sum(len(ledger_scores(run.folder, f)) for run in pair for f in ("length", "charset"))
    shown = [int(n) for _, said in titles for n in re.findall(r" (\d+) \(", said)]
    assert sum(shown) + beyond == scored
    assert text.count('class="limit kept"') == 2 and text.count('class="limit lost"') == 3


def test_texts_and_reasons_stay_text_and_folders_stay_at_home(tmp_path: Path) -> None:
    runs = made(tmp_path / "a", STEPS), made(tmp_path / "b", STEPS[:1])
    path = write_comparison((runs[0].folder, runs[1].folder), tmp_path / "page.html").path
    text = path.read_text()
    assert text.count("<script") == 2 and "PWNED" in text
    body = text[: text.index('id="data"')]
    assert "&lt;/script&gt;" in body or "&lt;img" in body or "&lt;svg" in body
    assert not re.search(r"<(img|iframe|link|svg onload|a href='java)", body)
    every = body + json.dumps(data_of(path), ensure_ascii=False)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2028\ud800-\udfff]", every)
    assert str(tmp_path) not in every


def test_equal_runs_have_nothing_to_show(tmp_path: Path) -> None:
    folder = made(tmp_path, STEPS).folder
    page = write_comparison((folder, folder), tmp_path / "page.html")
    text = page.path.read_text()
    assert page.rows == 0 and text.count("Every row ended the same way in both runs.") == 2
    assert "Both runs have the same recipe." in text and 'id="table"' not in text


def test_runs_of_other_rows_are_two_datasets(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        recipe = Pipeline.from_yaml('{"steps": ["exact"]}')
        rows = [{"instruction": f"{name} {k}", "output": "x"} for k in range(3)]
        runs.append(recipe.run(rows, run=tmp_path / name, store=tmp_path / "store"))
    page = write_comparison((runs[0].folder, runs[1].folder), tmp_path / "page.html")
    assert "no row in common" in page.path.read_text() and page.drawn_from == 6


def test_runs_that_read_nothing_or_broken_lines(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"instruction": "a b c", "output": "x"}\n{"instruction": <b>\n')
    recipe = Pipeline.from_yaml(json.dumps({"inputs": str(source), "steps": ["exact"]}))
    runs = [
        recipe.run(run=tmp_path / name, store=tmp_path / "store", limit=limit)
        for name, limit in (("a", 1), ("b", None))
    ]
    page = write_comparison((runs[0].folder, runs[1].folder), tmp_path / "page.html")
    text = page.path.read_text()
    assert page.rows == 1 and "absent → failed by read" in text and "&lt;b&gt;" in text
    # In the other direction the row is shown as the first run has it.
    back = write_comparison((runs[1].folder, runs[0].folder), tmp_path / "back.html")
    assert back.rows == 1 and "failed by read" in back.path.read_text()
    with pytest.raises(UsageError, match="no finished run"):
        write_comparison((runs[0].folder, tmp_path), tmp_path / "page.html")


def run_command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    runs = made(tmp_path / "a", STEPS), made(tmp_path / "b", STEPS[:1])
    page = tmp_path / "page.html"
    done = run_command(runs[0].folder, runs[1].folder, "--html", page)
    assert done.exit_code == 0 and "rows that ended differently" in done.output
    assert 'id="datasets"' not in page.read_text()


@pytest.mark.slow
def test_the_command_compares_datasets_on_a_page(tmp_path: Path) -> None:
    runs = made(tmp_path / "a", STEPS), made(tmp_path / "b", STEPS[:1])
    page = tmp_path / "page.html"
    done = run_command(runs[0].folder, runs[1].folder, "--datasets", "--html", page)
    assert done.exit_code == 0 and 'id="datasets"' in page.read_text()
    other = tmp_path / "other.json"
    other.write_text('[{"instruction": "Name <b>one</b>.", "output": "A crow. It is black."}]')
    done = run_command(runs[0].folder, other, "--datasets", "--html", page)
    text = page.read_text()
    assert done.exit_code == 0 and "diversity" in text and 'id="changes"' not in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--json", "--html", "p.html"], "give one of them"), (["--rows", "5"], "--html PAGE")],
)
def test_flags_that_would_do_nothing_are_refused(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    folder = made(tmp_path, STEPS).folder
    done = run_command(folder, folder, *flags)
    assert done.exit_code == 2 and said in done.output
