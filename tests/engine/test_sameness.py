"""Promise 4: how the work is split and when replies arrive changes no byte of a run's files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from .conftest import assert_conserved, fingerprint, run
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

RECIPES: dict[str, Any] = {
    "asking": lambda: [Fragile(), Judge(at_least=2.0), Modulo(divisor=60), TwoReplies()],
    "gathering": lambda: [
        Many(keep_parent=True),
        Couples(groups=50),
        Judge(at_least=None),
        Modulo(),
    ],
    "growing": lambda: [Novel(target=30, round_size=5), Fragile()],
}
VARIANTS: list[dict[str, Any]] = [
    {"chunk_rows": 1},
    {"chunk_rows": 7},
    {"workers": 1},
    {"workers": 2},
    {"concurrency": 1},
    {"concurrency": 8},
    {"concurrency": 64},
]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_splitting_and_arrival_change_no_byte(
    name: str, models: dict[str, Any], tmp_path: Path
) -> None:
    rows = numbered(120)
    first = run(RECIPES[name](), rows, tmp_path / "first", models=models)
    assert_conserved(first)
    want = fingerprint(first.folder)
    assert len(want) > 4
    for number, variant in enumerate(VARIANTS):
        shuffled = {k: {**spec, "shuffle": number + 1} for k, spec in models.items()}
        again = run(RECIPES[name](), rows, tmp_path / str(number), models=shuffled, **variant)
        assert fingerprint(again.folder) == want, variant


@pytest.mark.slow
def test_parts_and_spilled_segments_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, the vectorised path and many parts give what one small part gives."""
    from curate.engine import run as run_module
    from curate.steps.dedup.exact import Exact
    from curate.steps.filters.length import Length

    path = tmp_path / "rows.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in numbered(10_000))
    path.write_text(text, encoding="utf-8")
    steps = [Length(min=2, on="response"), Exact(), Fragile()]
    want = fingerprint(run(steps, str(path), tmp_path / "a", workers=1, chunk_rows=4096).folder)
    monkeypatch.setattr(run_module, "LARGE_BYTES", 0)
    for number, variant in enumerate(({"workers": 2}, {"workers": 1, "chunk_rows": 1000})):
        again = run(steps, str(path), tmp_path / str(number), **variant)
        assert fingerprint(again.folder) == want, variant


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "compares"), [("first", False), ("longest", True)])
def test_partitions_of_near_change_no_byte(
    keep: Any, compares: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that wait in files and are walked in many partitions give what one walk gives."""
    from curate.engine import run as run_module
    from curate.engine.kinds import reference_data
    from curate.kernels.sets import jaccard_partitioned
    from curate.steps.dedup.near import Near

    path, words = tmp_path / "rows.jsonl", [f"word{k}" for k in range(97)]
    with path.open("w") as file:
        for k in range(36_000):  # three parts; 24,000 rows are like one before them
            own = random.Random(k % 12_000).choices(words, k=20)
            own += [str(k % 12_000)] * (k % 3 + 1)
            file.write(json.dumps({"instruction": " ".join(own), "output": ""}) + "\n")
    others = tmp_path / "others.jsonl"
    others.write_text("".join(path.read_text().splitlines(True)[40:9000:7]))
    steps = [Near(similarity=0.7, keep=keep, against=str(others) if compares else None)]
    monkeypatch.setattr(run_module, "LARGE_BYTES", 0)
    first = run(steps, str(path), tmp_path / "a")
    assert 10_000 < first.summary["dropped"] < 30_000
    for module in (run_module, reference_data):
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(
        jaccard_partitioned, "PARTITION_BYTES", 1 << 21 if not compares else 1 << 18
    )
    seen, cuts = [], jaccard_partitioned.partition_cuts
    monkeypatch.setattr(
        jaccard_partitioned, "partition_cuts", lambda *a: seen.append(cuts(*a)) or seen[-1]
    )
    again = run(steps, str(path), tmp_path / "b")
    assert len(seen[-1]) > 5
    assert fingerprint(again.folder) == fingerprint(first.folder)
