"""What rows are compared with, where it lies at an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate import Pipeline
from curate.engine.kinds.reference_data import fingerprint_against, sketches_against
from curate.engine.state import Settings
from curate.errors import StoppedShort
from curate.steps import Exact, Near, Novelty

WHERE = "memory://b/other.jsonl"
SETTINGS = Settings(run_seed=0, large=False, chunk_rows=10)


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.pipe_file("/b/other.jsonl", b'{"instruction": "Say", "output": "a"}\n')
    yield system
    system.store.clear()


@pytest.mark.parametrize("only", [("mine",), ("prompt",), ("sft", "mine")])
@pytest.mark.parametrize("step", [Exact, Near, Novelty])
def test_only_is_about_rows_of_the_run(step: Any, only: tuple[str, ...], tmp_path: Path) -> None:
    """The rows of `against` are all compared with, whatever they are."""
    known = tmp_path / "known.jsonl"
    known.write_text('{"instruction": "Name the longest river of Peru.", "output": "The Ucayali."}')
    inputs = {
        "mine": [{"prompt": "Name the longest river of Peru."}],
        "other": [{"prompt": "Name the longest river of Peru."}],
    }
    found = step(on="instruction", against=str(known), only=only)
    result = Pipeline([found]).run(inputs, run=tmp_path / "run")
    sources = {row.source for row in result.dropped}
    assert sources == ({"mine", "other"} if "prompt" in only else {"mine"})


def test_what_was_replaced_at_an_address_stops_the_run(memory: Any) -> None:
    step = Exact(against=WHERE)
    known = fingerprint_against(step)
    assert len(sketches_against(step, SETTINGS, None, known=known)) == 1
    memory.pipe_file("/b/other.jsonl", b'{"instruction": "Say", "output": "b"}\n')
    with pytest.raises(StoppedShort, match="was replaced since the run began"):
        sketches_against(step, SETTINGS, None, known=known)
