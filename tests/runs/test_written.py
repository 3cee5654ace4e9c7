"""Files outside a run's folder: a run replaces what runs wrote, and nothing of anybody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import RecipeError, UsageError
from curate.runs import written
from curate.runs.written import check_replaceable, put, wrote
from curate.steps import Length

ROWS = [{"instruction": "Name a colour.", "output": text} for text in ("Red.", "Red is one.")]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run two rows through `length`, in `runs/NAME`, and on into `out.jsonl`."""
    monkeypatch.chdir(tmp_path)

    def run(name: str = "a", minimum: int = 1, **options: Any) -> Any:
        pipeline = Pipeline([Length(min=minimum)], outputs={"sft": "out.jsonl"})
        return pipeline.run(ROWS, run=f"runs/{name}", **options)

    return run


def test_a_foreign_output_is_refused_before_the_run(go: Callable[..., Any]) -> None:
    Path("out.jsonl").write_text("years of work")
    with pytest.raises(RecipeError, match=r"outputs\.sft: out\.jsonl exists, .*--replace"):
        go()
    with pytest.raises(RecipeError, match=r"out\.jsonl exists"):
        go(dry_run=True)
    assert Path("out.jsonl").read_text() == "years of work"
    assert not Path("runs").exists()
    go(replace=True)
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 2


def test_what_a_run_wrote_is_replaced_by_it_and_by_others(go: Callable[..., Any]) -> None:
    go()
    go()
    go("b", 2)
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 1
    # Written by `a` once, but no longer as `a` or `b` left it.
    Path("out.jsonl").write_text("corrected by hand\n")
    with pytest.raises(UsageError, match="not what a run wrote"):
        go()
    assert Path("out.jsonl").read_text() == "corrected by hand\n"


def test_an_output_option_is_checked_alike(go: Callable[..., Any]) -> None:
    Path("kept.jsonl").write_text("mine")
    with pytest.raises(UsageError, match=r"kept\.jsonl exists"):
        go(output="kept.jsonl")
    assert Path("kept.jsonl").read_text() == "mine"


@pytest.mark.parametrize("killed_before", [True, False])
def test_a_run_that_was_killed_while_it_wrote_continues(
    go: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, killed_before: bool
) -> None:
    go()

    def dies(fresh: Path, path: Path) -> None:
        if not killed_before:
            os.rename(fresh, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # `os` as this module sees it: nothing else is moved by it.
        patch.setattr(written, "os", type("Os", (), {"replace": staticmethod(dies)}))
        with pytest.raises(KeyboardInterrupt):
            go("b", 2)
    assert len(Path("out.jsonl").read_bytes().splitlines()) == (2 if killed_before else 1)
    go("b", 2)
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 1


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_a_folder_is_replaced_only_if_runs_wrote_all_of_it(tmp_path: Path) -> None:
    run, target = tmp_path / "runs" / "a", tmp_path / "shards"
    put(folder_of(tmp_path / "fresh", one="1", two="2"), target, run)
    assert wrote(run, target)
    with pytest.raises(UsageError, match="holds what a run wrote; --replace"):
        check_replaceable(target, run, replace=False)
    check_replaceable(target, tmp_path / "runs" / "b", replace=True)
    (target / "one").unlink()
    check_replaceable(target, run, replace=True)
    folder_of(target / "deep", thesis="years of work")
    for replace in (False, True):
        with pytest.raises(UsageError, match="no run wrote deep/thesis in it"):
            check_replaceable(target, run, replace=replace)
    put(folder_of(tmp_path / "again" / "fresh", three="3"), target, run)
    assert [path.name for path in target.iterdir()] == ["three"]


def test_nothing_and_an_empty_folder_stand_in_nobodys_way(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "none", tmp_path / "run", replace=False)
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty", tmp_path / "run", replace=False)


def test_a_run_that_cannot_be_written_still_exports(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.write_text("as good as a folder without rights")
    put(folder_of(tmp_path / "fresh", one="1"), tmp_path / "shards", run)
    assert (tmp_path / "shards" / "one").read_text() == "1"
