"""Promise 4 with worker processes: plain Python steps over many parts, two workers against one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.engine import local
from curate.engine.state import Workspace, load
from curate.pipeline import Result

from .conftest import assert_conserved, fingerprint, run
from .contract_steps import Couples, Fragile, Many, Modulo, Novel, numbered

ROWS = 330
RECIPES: dict[str, Any] = {
    "a row step, then a cut": lambda: [Fragile(), Modulo(divisor=150)],
    "one cut after the other": lambda: [
        Fragile(),
        Couples(groups=60, keep_parent=True),
        Many(),
        Modulo(divisor=40),
        Many(label="again"),
    ],
    "a grow between row steps": lambda: [Fragile(), Novel(target=30, round_size=5), Many()],
}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every run worth worker processes, and parts small; note the pools that are opened."""
    opened: list[int] = []

    def noted(count: int) -> Any:
        opened.append(count)
        return worker_pool(count)

    worker_pool = local.worker_pool
    monkeypatch.setattr(local, "worker_pool", noted)
    monkeypatch.setattr(local, "_WORTH_PROCESSES", -1.0)
    monkeypatch.setattr("curate.engine.run.LARGE_BYTES", 0)
    monkeypatch.setattr("curate.read.lines.PART_ROWS", 30)
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_two_workers_write_what_one_writes(
    name: str, tmp_path: Path, models: dict[str, Any], processes: list[int]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in numbered(ROWS)), encoding="utf-8")
    asking = models if "grow" in name else None

    def go(workers: int) -> Result:
        folder = tmp_path / str(workers)
        return run(RECIPES[name](), str(path), folder, workers=workers, models=asking)

    one = go(1)
    assert_conserved(one)
    assert not processes
    two = go(2)
    assert processes == [2]
    assert fingerprint(two.folder) == fingerprint(one.folder)
    assert two.summary["steps"][0]["reasons"] == one.summary["steps"][0]["reasons"]


@pytest.mark.slow
def test_every_table_that_is_written_away_has_a_file_of_its_own(tmp_path: Path) -> None:
    # A worker process opens the same folder anew for each part.
    paths = [Workspace(tmp_path).spill(pa.table({"n": [n]})) for n in range(20)]
    assert [load(path).column("n")[0].as_py() for path in paths] == list(range(20))
