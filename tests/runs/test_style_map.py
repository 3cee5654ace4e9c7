"""The map of styles: a picture and a table of the same bytes, and clear errors."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import MissingExtra
from curate.pipeline import Result
from curate.runs.style_map import style_table, write_style_maps
from curate.steps import Length, StyleReport
from curate.system import package_data

ROWS = [
    {"instruction": "q", "output": f"The {word} cat sat on the mat. " * (1 + n % 5), "who": who}
    for n, word in enumerate(["big", "red", "very old"] * 6)
    for who in ("$people_", "机器, «x»")
]


@pytest.fixture
def run(tmp_path: Path) -> Result:
    steps = [StyleReport(per="who")]
    return Pipeline(steps).run(ROWS, run=tmp_path / "run", store=tmp_path / "store")


def test_picture_and_table_hold_every_row(run: Result, tmp_path: Path) -> None:
    picture, table = write_style_maps(run.folder, run.summary, tmp_path / "out")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 10_000
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row.id for row in run.kept]
    assert {row["group"] for row in rows} == {"$people_", "机器, «x»"}
    assert float(rows[0]["words"]) == 7
    again = write_style_maps(run.folder, run.summary, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [picture.read_bytes(), table.read_bytes()]


def test_what_others_put_beside_the_ledger_is_not_drawn(run: Result) -> None:
    before = style_table(run.folder, "style_report")
    (own,) = (run.folder / "ledger" / "style_report").glob("*.parquet")
    shutil.copy(own, own.with_name("zzz.parquet"))
    assert style_table(run.folder, "style_report").equals(before)


def test_a_run_without_such_a_step_has_no_map(tmp_path: Path) -> None:
    run = Pipeline([Length()]).run(ROWS, run=tmp_path / "run", store=tmp_path / "store")
    assert write_style_maps(run.folder, run.summary, tmp_path / "out") == []
    nothing = [Length(min=1000), StyleReport(per="who")]
    run = Pipeline(nothing).run(ROWS, run=tmp_path / "none", store=tmp_path / "store")
    assert write_style_maps(run.folder, run.summary, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_the_command_that_installs_it_is_named(
    run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        return None if name == "matplotlib" else True

    monkeypatch.setattr(package_data, "find_spec", absent)
    with pytest.raises(MissingExtra, match=r"--png needs matplotlib.*\[figures\]"):
        write_style_maps(run.folder, run.summary, tmp_path / "out")


def test_the_table_has_surprisal_where_it_was_measured(tmp_path: Path) -> None:
    steps = [Length(), StyleReport(per="who", by="length")]
    run = Pipeline(steps).run(ROWS, run=tmp_path / "run", store=tmp_path / "store")
    table = style_table(run.folder, "style_report")
    assert table.column("surprisal").to_pylist() == table.column("words").to_pylist()
    picture, _ = write_style_maps(run.folder, run.summary, tmp_path / "out")
    assert picture.stat().st_size > 10_000
