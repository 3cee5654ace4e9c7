"""Tables of planned cells: what was planned, counted and kept, of runs that planned anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.page import write_page
from curate.page.cells import cell_tables
from curate.pipeline import Pipeline, Result
from tests.page.conftest import STEPS, made

CELLS = {
    "level": {"categories": {"law <b>": 1, "art": 1, "oil": 1}},
    "place": {"given": "level", "categories": {"law <b>": ["x"], "art": ["y", "z"], "oil": ["w"]}},
    "words": {"range": [1, 9]},
}


def planned(folder: Path, steps: list[Any], rows: list[dict[str, Any]]) -> Result:
    recipe = Pipeline.from_yaml(json.dumps({"steps": [{"attributes": {"cells": CELLS}}, *steps]}))
    return recipe.run(rows, run=folder / "run", store=folder / "store")


def rows_with_columns(count: int) -> list[dict[str, Any]]:
    """Return rows that have the planned columns, as a step that carries a plan out makes them."""
    levels = ["law <b>", "art"]
    return [
        {
            "instruction": f"question {number}",
            "output": "yes " * (1 + number % 4),
            "level": levels[number % 2],
            "place": "x" if number % 2 == 0 else "y",
            "words": number,
        }
        for number in range(count)
    ]


def test_planned_counted_and_kept_rows_stand_side_by_side(tmp_path: Path) -> None:
    steps = [{"length": {"min": 2, "on": "response"}}, {"cell_coverage": {"columns": ["level"]}}]
    result = planned(tmp_path, steps, rows_with_columns(30))
    tables = {table.title: table for table in cell_tables(result.folder, result.summary)}
    assert list(tables) == ["level", "level/place", "words, mean"]
    level = tables["level"]
    assert level.columns == ("attributes", "cell_coverage", "kept")
    # Ten of each were planned; of the even ones half have a word alone.
    assert dict(level.cells) == {
        "art": (10.0, 15.0, 15.0),
        "law <b>": (10.0, 7.0, 7.0),
        "oil": (10.0, None, 0.0),
    }
    assert (level.planned, level.there, level.empty) == (0, 2, 1)
    places = dict(tables["level/place"].cells)
    assert places["art/y"] == (5.0, 15.0) and places["art/z"] == (5.0, 0.0)
    assert tables["level/place"].empty == 2
    kept = [json.loads(row.extra or "{}")["words"] for row in result.kept]
    mean = result.summary["figures"]["attributes"]["words mean"]
    assert dict(tables["words, mean"].cells)[""] == (mean, sum(kept) / len(kept))


def test_a_plan_that_nothing_carried_out_claims_nothing_of_the_kept_rows(tmp_path: Path) -> None:
    rows = [{"instruction": f"question {n}", "output": "x"} for n in range(6)]
    result = planned(tmp_path, [], rows)
    tables = cell_tables(result.folder, result.summary)
    assert {table.columns for table in tables} == {("attributes",)}
    assert {table.there for table in tables} == {None} and not any(t.empty for t in tables)
    assert "Planned diversity" in write_page(result.folder, tmp_path / "p.html").path.read_text()


def test_the_page_shows_the_cells_as_text(tmp_path: Path) -> None:
    result = planned(tmp_path, [], rows_with_columns(30))
    text = write_page(result.folder, tmp_path / "page.html").path.read_text()
    section = text[text.index('<section id="cells">') : text.index('<section id="shift">')]
    assert "law &lt;b&gt;" in section and "<b>law" not in section and "law <b>" not in section
    assert section.count('class="plan"') == 3 + 4 and "1 planned, and without a row" in section


def test_a_mixture_shows_its_tasks(tmp_path: Path) -> None:
    recipe = Pipeline.from_yaml(json.dumps({"steps": [{"mix": {"per": "level", "cap": 4}}]}))
    rows = rows_with_columns(20)
    result = recipe.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    (table,) = cell_tables(result.folder, result.summary)
    assert table.columns == ("rows before", "rows", "share") and table.planned is None
    assert dict(table.cells) == {"law <b>": (10.0, 4.0, 0.5), "art": (10.0, 4.0, 0.5)}


def test_other_runs_have_no_such_part(tmp_path: Path) -> None:
    result = made(tmp_path, STEPS)
    assert cell_tables(result.folder, result.summary) == []
    assert 'id="cells"' not in write_page(result.folder, tmp_path / "p.html").path.read_text()
