"""A node runs the segment functions of the local engine, or says why it is not fit to."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from curate.chunk import table_of
from curate.engine import local, segment
from curate.engine.ray import on_ray, task
from curate.engine.ray.task import SegmentTask, carry_out, check_node, digests_of, versions
from curate.engine.segment import Segment, run_segment
from curate.engine.state import PartitionState, Settings
from curate.errors import StoppedShort
from curate.row import Message, Row
from curate.step import Filter
from curate.steps import Length
from tests.house.imports import imports
from tests.house.places import PACKAGE

SETTINGS = Settings(run_seed=0, large=False, chunk_rows=100)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reads(Filter):
    """Read a file besides the rows."""

    path: str

    def score(self, row: Row) -> float:
        return 1.0

    def keep(self, score: float | None) -> str | None:
        return None

    def prepare(self) -> None:
        if not Path(self.path).exists():
            raise ValueError(f"there is no file {self.path}")

    def data_digest(self) -> str:
        return Path(self.path).read_text()


def sent(*steps: Filter, **changes: object) -> SegmentTask:
    made = SegmentTask("t", Segment(steps, None), SETTINGS, versions(), digests_of(steps))
    return made._replace(**changes)


def test_segment_functions_are_the_same_objects() -> None:
    assert task.run_segment is local.run_segment is segment.run_segment
    assert on_ray.carry_out is task.carry_out
    assert task.run_segment in carry_out.__globals__.values()


def test_only_the_room_of_ray_imports_ray() -> None:
    """Lazy imports count: no step and no other room knows of it."""
    found = {i.importer for i in imports(PACKAGE) if i.imported.partition(".")[0] == "ray"}
    assert found == {f"curate.engine.ray.{name}" for name in ("joining", "on_ray", "replicas")}
    room = {i.importer for i in imports(PACKAGE) if i.imported.startswith("curate.engine.ray")}
    assert {name for name in room if not name.startswith("curate.engine.ray")} == {
        "curate.engine.accounts",
        "curate.engine.run",
    }


def test_a_local_run_loads_nothing_of_ray(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom curate import Pipeline\nfrom curate.steps import Length\n"
        "rows = [{'messages': [{'role': 'user', 'content': 'Say it.'}]}]\n"
        f"Pipeline([Length(min=1)]).run(rows, run={str(tmp_path / 'run')!r})\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'ray' or 'engine.ray' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_a_part_comes_back_as_from_the_local_engine() -> None:
    rows = [
        Row(
            id=f"{number:032x}",
            seq=(0, 0, number),
            kind="sft",
            fields={"messages": (Message("user", "Say"), Message("assistant", "word " * number))},
        )
        for number in range(9)
    ]
    step = Length(min=4, on="response")
    want = run_segment(Segment((step,), None), PartitionState(0, table_of(rows)), SETTINGS)
    found = carry_out(sent(step), PartitionState(0, table_of(rows)))
    assert found.rows.equals(want.rows)
    assert [t.equals(o) for t, o in zip(found.gone, want.gone, strict=True)] == [True]
    assert found.ledger[0].held.equals(want.ledger[0].held)
    assert found.tallies["length"].dropped == want.tallies["length"].dropped > 0


def test_a_node_with_other_versions_refuses() -> None:
    check_node(sent(Length(min=1)))
    other = {**versions(), "curate": "0" * 16, "numpy": "1.0"}
    with pytest.raises(StoppedShort, match=r"curate \w+ instead of 0+, numpy .* instead of 1\.0"):
        check_node(sent(Length(min=1), versions=other))


def test_the_digest_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(task, "PACKAGE", tmp_path)
    before = versions.__wrapped__()["curate"]
    (tmp_path / "a.py").write_text("x = 2\n")
    assert versions.__wrapped__()["curate"] != before


def test_a_node_that_reads_another_file_refuses(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("one")
    found = sent(Reads(path=str(path)))
    check_node(found)
    path.write_text("two")
    with pytest.raises(StoppedShort, match="other data for the step 'reads'"):
        check_node(found)
    path.unlink()
    with pytest.raises(StoppedShort, match=r"cannot read a file .*there is no file"):
        check_node(found)


def test_versions_are_plain_data() -> None:
    assert json.loads(json.dumps(versions())) == versions()
