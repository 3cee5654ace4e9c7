"""Promise 1: no row is lost, whatever the rows, the steps and their failures are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.row import Message, Record

from .conftest import assert_conserved, run
from .contract_steps import (
    Couples,
    Fragile,
    Judge,
    Many,
    Modulo,
    Novel,
    TwoReplies,
    numbered,
)

STEPS = {
    "fragile": lambda: Fragile(below=7.0),
    "many": Many,
    "keeping": lambda: Many(keep_parent=True, label="keeping"),
    "modulo": lambda: Modulo(divisor=13),
    "wide": lambda: Modulo(divisor=200, label="wide"),
    "couples": Couples,
    "leaving": lambda: Couples(keep_parent=True, groups=50, label="leaving"),
    "judge": lambda: Judge(at_least=4.0),
    "two": TwoReplies,
    "novel": lambda: Novel(target=20, round_size=4, keep_pool=False),
    "novel_kept": lambda: Novel(target=8, round_size=3, patience=2, label="novel_kept"),
}
ROWS = st.lists(
    st.integers(0, 60).map(
        lambda n: {"instruction": f"question {n}", "input": "", "output": f"answer {n}"}
    ),
    min_size=1,
    max_size=60,
)
PIPELINES = st.lists(st.sampled_from(sorted(STEPS)), max_size=5, unique=True)


anything = given(
    rows=ROWS, names=PIPELINES, seed=st.integers(0, 3), chunk=st.sampled_from([1, 3, 64])
)
shared = [HealthCheck.function_scoped_fixture]


def assert_no_row_is_lost(
    models: dict[str, Any], rows: list[dict[str, str]], names: list[str], seed: int, chunk: int
) -> None:
    steps = [STEPS[name]() for name in names]
    with tempfile.TemporaryDirectory() as folder:
        result = run(steps, rows, Path(folder), models=models, seed=seed, chunk_rows=chunk)
        assert result.summary["in"] == len(rows)
        assert_conserved(result)


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=shared)
@anything
def test_rows_are_conserved(models: dict[str, Any], **given: Any) -> None:
    assert_no_row_is_lost(models, **given)


@pytest.mark.slow
@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=shared)
@anything
def test_rows_of_many_pipelines_are_conserved(models: dict[str, Any], **given: Any) -> None:
    assert_no_row_is_lost(models, **given)


@pytest.mark.slow
def test_unreadable_rows_are_counted_in_and_failed(tmp_path: Path) -> None:
    rows: list[Any] = numbered(30)
    rows[4] = {"instruction": "question 4", "input": "", "output": 7}
    result = run([Modulo(divisor=40)], rows, tmp_path)
    assert result.summary["in"] == 30
    assert result.summary["unreadable"][0]["error"]
    assert_conserved(result)


@pytest.mark.slow
def test_equal_rows_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{"instruction": "same", "input": "", "output": "same"}] * 50
    result = run([], rows, tmp_path)
    assert result.summary["kept"] == 50
    assert_conserved(result)


@pytest.mark.slow
def test_a_wrong_record_fails_its_own_row_only(tmp_path: Path) -> None:
    def wrong(row: Any) -> Any:
        if "3" in row.instruction:
            return Record("sft", {"messages": (Message("user", "lone \ud800"),)})
        if "4" in row.instruction:
            return Record("sft", {"messages": "text"})
        return True

    result = run([wrong], numbered(20), tmp_path)
    assert result.summary["failed"] == len(
        [n for n in range(20) if {"3", "4"} & set(str(n if n % 9 != 8 else n - 4))]
    )
    assert_conserved(result)
