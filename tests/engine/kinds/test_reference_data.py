"""What rows are compared with, where it lies at an address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from curate.engine.kinds.reference_data import fingerprint_against, sketches_against
from curate.engine.state import Settings
from curate.errors import StoppedShort
from curate.steps.dedup.exact import Exact

WHERE = "memory://b/other.jsonl"
SETTINGS = Settings(run_seed=0, large=False, chunk_rows=10)


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.pipe_file("/b/other.jsonl", b'{"instruction": "Say", "output": "a"}\n')
    yield system
    system.store.clear()


def test_what_was_replaced_at_an_address_stops_the_run(memory: Any) -> None:
    step = Exact(against=WHERE)
    known = fingerprint_against(step)
    assert len(sketches_against(step, SETTINGS, None, known=known)) == 1
    memory.pipe_file("/b/other.jsonl", b'{"instruction": "Say", "output": "b"}\n')
    with pytest.raises(StoppedShort, match="was replaced since the run began"):
        sketches_against(step, SETTINGS, None, known=known)
