"""Runs as inputs: their kept rows as they stand, of every kind, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curate.errors import InputError, UsageError
from curate.pipeline import Pipeline, Result
from curate.read import open_inputs, open_records
from curate.read.finished_runs import run_of
from curate.steps import Length, Pii
from tests.read.reading import alpaca, read_all

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
ASKED = [{"role": "user", "content": "Name a tree."}]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "sft": [
        alpaca(input="Now.", output="An elm.", page=3),
        alpaca(output="An oak."),
        alpaca(output="An oak."),
    ],
    "prompt": [{"prompt": ASKED, "tools": TOOLS}],
    "preference": [{"prompt": "a", "chosen": "b c", "rejected": "d", "margin": 0.5}],
    "unpaired": [{"prompt": "a", "completion": "b c", "label": 1}],
    "ranked": [
        {
            "prompt": ASKED,
            "candidates": [
                {
                    "messages": [{"role": "assistant", "content": "An ash."}],
                    "score": 2.5,
                    "model": "m",
                    "seen": True,
                }
            ],
        }
    ],
}


def run(rows: Any, folder: Path, *steps: Any) -> Result:
    return Pipeline(list(steps)).run(rows, run=folder, store=folder.parent / "store")


@pytest.mark.parametrize("kind", RECORDS)
def test_rows_of_a_run_are_the_same_rows(kind: str, tmp_path: Path) -> None:
    before = run(RECORDS[kind], tmp_path / "before", Length(max=9, on="whole"))
    again = run(str(tmp_path / "before"), tmp_path / "again")
    assert [row.kind for row in again.kept] == [kind] * len(RECORDS[kind])
    for one, two in zip(before.kept, again.kept, strict=True):
        assert (one.id, one.fields, one.extra) == (two.id, two.fields, two.extra)
    # What the run said of them stays behind.
    assert [row.scores for row in again.kept] == [{}] * len(RECORDS[kind])
    assert again.kept.to_list() == before.kept.to_list()


def test_only_kept_rows_are_read_and_leave_in_the_shape_they_came_in(tmp_path: Path) -> None:
    run([alpaca(), alpaca(output="No " * 9)], tmp_path / "before", Length(max=3, on="response"))
    found = open_inputs(str(tmp_path / "before"))
    assert [file.shape for file in found.files] == ["alpaca"]
    # Beside a new file of that shape both leave in it.
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps(alpaca(output="Hi.")) + "\n")
    inputs = {"old": str(tmp_path / "before"), "new": str(new)}
    Pipeline([], inputs=inputs).run(run=tmp_path / "both", output=tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert list(map(json.loads, lines)) == [alpaca(), alpaca(output="Hi.")]
    turns = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hello."}]
    named = {"a": {"path": str(tmp_path / "before"), "shape": "messages"}}
    Pipeline([], inputs=named).run(run=tmp_path / "s", output=tmp_path / "own.jsonl")
    assert json.loads((tmp_path / "own.jsonl").read_text("utf-8")) == {"messages": turns}


def test_rows_that_steps_made_leave_in_the_natural_shape(tmp_path: Path) -> None:
    run([alpaca(output="Ask a@b.org.")], tmp_path / "before", Pii())
    found = open_inputs(str(tmp_path / "before"))
    assert [file.shape for file in found.files] == ["messages"]


def test_a_run_of_several_kinds_gives_all_of_them(tmp_path: Path) -> None:
    paths = {}
    for kind in ("sft", "preference"):
        paths[kind] = str(tmp_path / f"{kind}.jsonl")
        Path(paths[kind]).write_text("".join(json.dumps(r) + "\n" for r in RECORDS[kind]))
    Pipeline([], inputs=paths).run(run=tmp_path / "both", store=tmp_path / "store")
    again = run(str(tmp_path / "both"), tmp_path / "again")
    assert sorted(row.kind for row in again.kept) == ["preference", "sft", "sft", "sft"]


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    run(RECORDS["sft"], tmp_path / "empty", Length(min=99))
    with pytest.raises(InputError, match=r"empty: the run kept no row; curate report .*empty"):
        open_inputs(str(tmp_path / "empty"))
    run(RECORDS["sft"], tmp_path / "stopped")
    (tmp_path / "stopped" / "report.json").unlink()
    with pytest.raises(InputError, match="stopped: the run has not finished"):
        open_inputs(str(tmp_path / "stopped"))
    run(RECORDS["sft"], tmp_path / "whole")
    with pytest.raises(UsageError, match="holds sft rows of a run, and the shape 'prompt' is one"):
        open_inputs(str(tmp_path / "whole"), shape="prompt")
    Pipeline([]).run([alpaca(), {"output": "b"}], run=tmp_path / "failed", allow_failed=1.0)
    with pytest.raises(InputError, match="rows of a run lie in a folder of their kind"):
        open_inputs(str(next((tmp_path / "failed" / "failed").glob("*.parquet"))))


def test_a_strangers_file_in_the_folder_is_no_part_of_a_run(tmp_path: Path) -> None:
    first = run([alpaca(), alpaca(output="No " * 9)], tmp_path / "run", Length(max=3))
    other = run([alpaca(output="Strange.")] * 2, tmp_path / "other")
    [strange] = other.kept.files()
    for place in ("kept/sft/part-00001.parquet", "kept/sft/mine.parquet", "kept/own/a.parquet"):
        path = tmp_path / "run" / place
        path.parent.mkdir(exist_ok=True)
        shutil.copy(strange, path)
        assert (len(first.kept), len(list(first.kept)), len(first.kept.to_list())) == (1, 1, 1)
        assert read_all(str(tmp_path / "run")).records == 1
        # Given by its name it is read, but not as the run's.
        if place.startswith("kept/sft"):
            assert run_of(str(path)) is None
        for replace in (False, True):
            with pytest.raises(UsageError, match=rf"{path.name} was written by no run"):
                Pipeline([Length(max=3)]).run(
                    [alpaca(), alpaca(output="No " * 9)], run=tmp_path / "run", replace=replace
                )
        path.unlink()
    # Runs of earlier versions have no note.
    (tmp_path / "run" / ".state" / "published.json").unlink()
    assert len(first.kept) == 1


def test_a_run_is_a_test_set(tmp_path: Path) -> None:
    run(RECORDS["ranked"] * 2, tmp_path / "held")
    [(name, reads)] = open_records(str(tmp_path / "held"))
    assert name == str(tmp_path / "held")
    assert [read.record["question"] for read in reads] == ["Name a tree."] * 2
    assert len(read_all(str(tmp_path / "held" / "kept" / "ranked")).rows) == 2
