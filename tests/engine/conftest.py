"""What the engine's tests share: running the contract's steps and reading what a run left."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.pipeline import Result

from .contract_steps import judge_script, write_script, writer_script


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Any]:
    """Scripted models for up to 400 numbered rows, with a log of what was sent."""
    judge = write_script(tmp_path / "judge.jsonl", judge_script(400))
    writer = write_script(tmp_path / "writer.jsonl", writer_script(400))
    return {
        "judge": {"model": f"scripted:{judge}", "log": str(tmp_path / "sent.log")},
        "writer": {"model": f"scripted:{writer}", "log": str(tmp_path / "sent.log")},
    }


def run(steps: list[Any], rows: Any, folder: Path, **options: Any) -> Result:
    """Run steps on rows in `folder/run`, with the store beside it."""
    models = options.pop("models", None)
    seed = options.pop("seed", 0)
    options.setdefault("run", folder / "run")
    options.setdefault("store", folder / "store")
    return Pipeline(steps, models=models, seed=seed).run(rows, **options)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return a hash of every published file, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }


def assert_conserved(result: Result) -> None:
    """Hold promise 1: every row ends as exactly one of four, by id, and the ledger says where."""
    import pyarrow.parquet as pq

    summary = result.summary
    ids = {
        name: [
            value
            for path in getattr(result, name).files()
            for value in pq.read_table(path, columns=["id"]).column("id").to_pylist()
        ]
        for name in ("kept", "used", "dropped", "failed")
    }
    every = [value for values in ids.values() for value in values]
    assert len(set(every)) == len(every) == summary["in"] + summary["made"]
    for name, values in ids.items():
        assert len(values) == summary[name], name
    ended: dict[bytes, list[str]] = {}
    made: set[bytes] = set()
    for path in sorted((result.folder / "ledger").rglob("*.parquet")):
        table = pq.read_table(path, columns=["row", "outcome"])
        for row, outcome in zip(
            *(table.column(n).to_pylist() for n in ("row", "outcome")), strict=True
        ):
            if outcome in ("used", "dropped", "failed"):
                ended.setdefault(row, []).append(outcome)
            elif outcome == "made":
                made.add(row)
    assert {row: [name] for name in ("used", "dropped", "failed") for row in ids[name]} == ended
    assert len(made) <= summary["made"]
    for step in summary["steps"]:
        assert step["in"] + step["made"] == sum(
            step[n] for n in ("kept", "used", "dropped", "failed")
        )
