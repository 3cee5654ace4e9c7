"""Deciding again with other rules: a sibling folder, the same replies, the same ceilings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CeilingReached, UsageError
from curate.pipeline import Result

from .conftest import assert_conserved, run
from .contract_steps import Fragile, Judge, TwoReplies, numbered


def sent(folder: Path) -> list[str]:
    path = folder / "sent.log"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("kind", ["list", "path", "reopened"])
def test_rows_of_every_origin_are_decided_again(kind: str, tmp_path: Path) -> None:
    rows: Any = numbered(60)
    if kind != "list":
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        rows = str(path)
    from curate.steps.filters.length import Length

    first = run([Length(min=1, on="response")], rows, tmp_path)
    if kind == "reopened":
        first = Result.open(first.folder)
    again = first.rethreshold(length={"min": 3})
    assert again.folder != first.folder
    assert (first.summary["kept"], again.summary["kept"]) == (60, 0)
    assert_conserved(again)


def test_nothing_that_was_scored_is_asked_again(models: dict[str, Any], tmp_path: Path) -> None:
    first = run([Judge(at_least=6.0)], numbered(40, repeat_every=99), tmp_path, models=models)
    never_answered = sum(1 for n in range(40) if n % 53 == 11)
    before = len(sent(tmp_path))
    again = first.rethreshold(judge=2.0)
    # Only what never gets a reply is asked again, several times in vain.
    assert len(set(sent(tmp_path)[before:])) == never_answered
    assert again.summary["kept"] > first.summary["kept"]


def test_the_ceiling_counts_both_runs(models: dict[str, Any], tmp_path: Path) -> None:
    rows = numbered(20, repeat_every=99)
    steps = [Judge(at_least=9.0), TwoReplies()]
    first = run(steps, rows, tmp_path, models=models, max_requests=45)
    assert first.summary["requests"]["sent"] <= 45
    with pytest.raises(CeilingReached):
        first.rethreshold(judge=0.0)


def test_a_rule_can_be_taken_away(tmp_path: Path) -> None:
    from curate.steps.filters.length import Length

    first = run([Length(min=50)], numbered(10), tmp_path)
    again = first.rethreshold(length=None)
    assert (first.summary["kept"], again.summary["kept"]) == (0, 10)


def test_a_wrong_rule_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    first = run([Fragile()], numbered(9), tmp_path)
    with pytest.raises(UsageError, match="no step is labelled 'fragil'"):
        first.rethreshold(fragil=3)
    with pytest.raises(UsageError, match="'label' is not a rule of step 'fragile'"):
        first.rethreshold(fragile={"label": "x"})
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]
