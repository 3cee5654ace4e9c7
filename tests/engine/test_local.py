"""The local engine: parts that ask overlap, and an error ends those still waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.ask import Ask, Reply, Request
from curate.chunk import table_of
from curate.engine.local import ASKING_PARTS, Local
from curate.engine.segment import Segment
from curate.engine.state import PartitionState, Settings, Workspace
from curate.row import Message, Row

from .asking import Answering, driver
from .contract_steps import Judge

SEGMENT = Segment((Judge(model="model", at_least=None),), None)


def part(number: int, rows: int = 4) -> PartitionState:
    """Return a part of rows whose answers name the part."""
    made = []
    for n in range(rows):
        turns = (Message("user", "?"), Message("assistant", f"{number}.{n}"))
        made.append(
            Row(id=f"{number:016x}{n:016x}", seq=(0, 0, number * rows + n), kind="sft",
                fields={"messages": turns}, source="test")
        )  # fmt: skip
    return PartitionState(number, table_of(made))


class Waiting(Answering):
    """Answer after `wait` has."""

    def __init__(self, wait: Callable[[str], asyncio.Future[None]]) -> None:
        # A place for every row of the parts under way: the order of the threads decides nothing.
        super().__init__(lambda text: "5", max_concurrency=4 * ASKING_PARTS)
        self._wait = wait

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        assert isinstance(request, Ask)
        await self._wait(request.messages[-1].content)
        return await super().answer(request, key=key, attempt=attempt)


@contextmanager
def local(folder: Path, model: Answering) -> Iterator[Local]:
    settings = Settings(run_seed=0, large=False, chunk_rows=8)
    with driver(folder, model) as opened:
        engine = Local(settings, Workspace(folder / "work"), opened, workers=1)
        try:
            yield engine
        finally:
            engine.close()


def test_no_place_is_empty_between_two_parts(tmp_path: Path) -> None:
    second = asyncio.Event()

    async def until_the_second_part(text: str) -> None:
        # The first part ends only once the second one is being asked about.
        if " 1." in text:
            second.set()
        await second.wait()

    model = Waiting(until_the_second_part)  # type: ignore[arg-type]
    with local(tmp_path, model) as engine:
        states = list(engine.run(SEGMENT, map(part, range(5)), 5, spill=False))
    assert [state.number for state in states] == list(range(5))
    assert all(state.tallies["judge"].kept == 4 for state in states)
    assert len(model.sent) == 20


def test_parts_are_read_only_a_few_ahead(tmp_path: Path) -> None:
    read: list[int] = []

    def parts() -> Iterator[PartitionState]:
        for number in range(9):
            read.append(number)
            yield part(number)

    with local(tmp_path, Answering(lambda text: "5")) as engine:
        for done, _ in enumerate(engine.run(SEGMENT, parts(), 9, spill=False), 1):
            assert len(read) <= done + ASKING_PARTS - 1


def test_an_error_elsewhere_does_not_wait_for_replies(tmp_path: Path) -> None:
    asked = threading.Event()

    async def forever(text: str) -> None:
        if " 0." not in text:
            asked.set()
            await asyncio.sleep(3600)

    began = time.monotonic()
    with (
        pytest.raises(ZeroDivisionError),
        local(tmp_path, Waiting(forever)) as engine,  # type: ignore[arg-type]
    ):
        for _ in engine.run(SEGMENT, map(part, range(9)), 9, spill=False):
            assert asked.wait(30)
            raise ZeroDivisionError
    assert time.monotonic() - began < 60
    assert not [t for t in threading.enumerate() if t.name.startswith("curate")]
