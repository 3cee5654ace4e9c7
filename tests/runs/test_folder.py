"""The run folder: what it refuses, and what a refusal says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import StoppedShort, UsageError
from curate.pipeline import Result
from curate.runs.folder import SECTIONS, RunFolder, difference
from tests.engine.conftest import fingerprint, run
from tests.engine.contract_steps import Fragile, numbered


def test_other_rules_need_another_folder_or_replace(tmp_path: Path) -> None:
    first = run([Fragile(below=7.0)], numbered(30), tmp_path)
    want = fingerprint(first.folder)
    with pytest.raises(UsageError, match=r"other steps.*--replace"):
        run([Fragile(below=3.0)], numbered(30), tmp_path)
    assert fingerprint(first.folder) == want
    second = run([Fragile(below=3.0)], numbered(30), tmp_path, replace=True)
    assert second.summary["kept"] < first.summary["kept"]


def test_other_inputs_and_limits_are_refused(tmp_path: Path) -> None:
    run([Fragile()], numbered(30), tmp_path)
    with pytest.raises(UsageError, match="other inputs"):
        run([Fragile()], numbered(31), tmp_path)
    with pytest.raises(UsageError, match="other limit"):
        run([Fragile()], numbered(30), tmp_path, limit=3)


def test_the_limit_counts_rows_read(tmp_path: Path) -> None:
    result = run([Fragile()], numbered(30), tmp_path, limit=7)
    assert result.summary["in"] == 7


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty and holds no run"):
        run([Fragile()], numbered(3), tmp_path)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.lock(), pytest.raises(UsageError, match="another process"), folder.lock():
        pass


def test_the_report_has_what_the_contract_says(tmp_path: Path) -> None:
    result = run([Fragile()], numbered(30), tmp_path)
    report = json.loads((result.folder / "report.json").read_text())
    assert set(report) == {
        "in", "made", "kept", "used", "dropped", "failed", "seconds", "peak_memory_mb",
        "steps", "figures", "requests", "tokens", "cost_usd", "unreadable",
    }  # fmt: skip
    assert Result.open(result.folder).summary == report
    assert {path.name for path in result.folder.iterdir()} == {
        "run.yaml", "report.json", "README.md", ".state",
        "kept", "used", "dropped", "failed", "ledger",
    }  # fmt: skip


def test_an_unfinished_run_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run"):
        Result.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoppedShort, match=r"file/run/.state: Not a directory; check that"):
        run([], numbered(2), tmp_path, run=tmp_path / "file" / "run")


_STEPS = [["length", "length", 1, {"min": 3}], ["near", "near", 2, {"similarity": 0.8}]]
_PURPOSE = {"inputs": [{"file": "a.jsonl", "digest": "1"}], "limit": None, "steps": _STEPS}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"limit": 30}, "limit (unset then, 30 now)"),
        ({"inputs": [{"file": "a.jsonl", "digest": "2"}]}, "inputs (changed since)"),
        ({"inputs": []}, "inputs (a.jsonl then, nothing now)"),
        ({"steps": _STEPS[:1]}, "steps (length, near then, length now)"),
        (
            {"steps": [["length", "length", 1, {"max": 9}], _STEPS[1]]},
            "steps (length.min 3 then, unset now; length.max unset then, 9 now)",
        ),
        ({"steps": [["length", "length", 2, {"min": 3}], _STEPS[1]]}, "steps"),
        ({"models": {"judge": "openai:b"}}, 'models (judge.model "openai:a" then, "openai:b" now)'),
        (
            {"models": {"judge": {"model": "openai:a", "max_tokens": 9}}},
            "models (judge.max_tokens unset then, 9 now)",
        ),
        ({"seed": 1, "limit": 2}, "limit (unset then, 2 now) and seed (0 then, 1 now)"),
    ],
)
def test_a_refusal_names_what_differs(changed: dict[str, Any], told: str) -> None:
    old = {**_PURPOSE, "seed": 0, "models": {"judge": "openai:a"}}
    assert difference(old, {**old, **changed}) == told


def test_a_bound_that_is_gone_says_how_to_go_on() -> None:
    bounded = {**_PURPOSE, "models": {"judge": {"model": "openai:a", "max_tokens": 1104}}}
    assert difference(bounded, {**bounded, "models": {"judge": "openai:a"}}) == (
        "models (judge.max_tokens 1104 then, unset now; "
        "--set models.judge.max_tokens=1104 goes on with it)"
    )


@pytest.mark.parametrize("place", ["kept", "ledger/deep", "used", ""])
def test_replace_deletes_only_what_a_run_wrote(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / place).mkdir(parents=True)
    thesis = folder / place / "thesis.txt"
    thesis.write_text("years of work", encoding="utf-8")
    for replace in (False, True):
        with pytest.raises(UsageError, match="holds no run"):
            run([Fragile(below=2.0)], numbered(3), tmp_path, replace=replace)
    assert thesis.read_text(encoding="utf-8") == "years of work"


def test_a_file_among_the_results_is_not_deleted_with_them(tmp_path: Path) -> None:
    run([Fragile(below=2.0)], numbered(3), tmp_path)
    thesis = tmp_path / "run" / "kept" / "thesis.txt"
    thesis.write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match=r"thesis\.txt was written by no run"):
        run([Fragile(below=3.0)], numbered(3), tmp_path, replace=True)
    assert thesis.exists()
    thesis.rename(tmp_path / "thesis.txt")
    assert run([Fragile(below=3.0)], numbered(3), tmp_path, replace=True).summary["in"] == 3


def test_no_report_stands_beside_sections_of_another_run(tmp_path, monkeypatch):
    """Killed while its sections are replaced, a folder is not finished, nor half the old."""
    folder = RunFolder(tmp_path / "run")
    for name in SECTIONS:
        (folder.fresh / name).mkdir(parents=True)
        (folder.path / name).mkdir(parents=True)
    report = folder.path / "report.json"
    report.write_text("{}")
    there = []

    def rename(self, target):
        there.append(report.exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        folder.publish({}, "{}")
    assert there == [False]
    assert not report.exists()
