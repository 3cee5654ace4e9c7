"""The local engine: parts through segments on threads, or on spawned processes for slow Python.

Columnar kernels release the interpreter lock, so threads serve them; only row steps written in
Python gain from processes, and only when there is enough work to pay for starting them. Processes
are spawned (a fork after threads have run can hang) and get paths, not tables.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol, TypeVar

from curate.engine.segment import Segment, asks, is_columnar, run_segment
from curate.engine.state import PartitionState, Settings, Workspace, release
from curate.errors import StoppedShort
from curate.step import Gather, Whole
from curate.system.processes import can_travel, worker_pool

if TYPE_CHECKING:
    from curate.requests.driver import Driver

_Item = TypeVar("_Item")
_Out = TypeVar("_Out")
_Result = TypeVar("_Result", covariant=True)
# Starting two processes and importing the steps there takes about a second and a half.
_WORTH_PROCESSES = 2.0
# Parts whose requests are under way at once: while the last slow replies of one are waited for, the
# next ones keep every place busy.
ASKING_PARTS = 3
# How long an interrupt may go unnoticed.
_PIECE_SECONDS = 0.5
# A batch job takes hours, however full it is: with these rows one of them is full.
BATCHING_PARTS = 4


class Pending(Protocol[_Result]):
    """Work that was given to a pool."""

    def result(self) -> _Result:
        """Wait for it."""
        ...

    def cancel(self) -> object:
        """Give it up, if it can be."""
        ...


class WorkPool(Protocol[_Item, _Out]):
    """What carries out work beside the caller: an executor, or the nodes of a cluster."""

    def submit(self, work: Callable[[_Item], _Out], item: _Item, /) -> Pending[_Out]:
        """Begin `work(item)`."""
        ...


def ordered_map(
    work: Callable[[_Item], _Out], items: Iterable[_Item], pool: WorkPool[_Item, _Out], window: int
) -> Iterator[_Out]:
    """Yield `work(item)` in the order of items, at most `window` of them ahead of the reader."""
    waiting: deque[Pending[_Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            while len(waiting) >= window:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


def _result(pending: Pending[_Out]) -> _Out:
    """Wait for work in pieces.

    A signal that arrives between Python's last look for signals and a wait without end is handled
    when that ends: 3 of 205 Ctrl-C on a busy machine.
    """
    while isinstance(pending, Future) and not pending.done():
        wait_for([pending], timeout=_PIECE_SECONDS)
    return pending.result()


class Local:
    """Run segments on this machine."""

    def __init__(
        self, settings: Settings, workspace: Workspace, driver: Driver | None, workers: int | None
    ) -> None:
        self.settings, self.workspace, self.driver = settings, workspace, driver
        self.workers = workers or os.cpu_count() or 1
        self.threads = ThreadPoolExecutor(self.workers, thread_name_prefix="curate")
        # Beside the other threads: these mostly wait, whatever the number of cores.
        self._together = BATCHING_PARTS if driver and driver.batches else ASKING_PARTS
        self._asking = ThreadPoolExecutor(self._together, thread_name_prefix="curate-asking")
        self._processes: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """Stop the workers; what they had not begun is dropped."""
        # Whoever interrupts does not want to wait for rows whose results are thrown away.
        error = sys.exc_info()[1]
        wait = not isinstance(error, KeyboardInterrupt)
        if error is not None and self.driver is not None:
            self.driver.interrupt()
        self._asking.shutdown(wait=wait, cancel_futures=True)
        self.threads.shutdown(wait=wait, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=wait, cancel_futures=True)

    def run(
        self,
        segment: Segment,
        states: Iterable[PartitionState],
        parts: Callable[[], int],
        *,
        spill: bool,
    ) -> Iterator[PartitionState]:
        """Yield each part's state after `segment`, in order.

        `parts` estimates how many there are, the better the more has been read; with `spill`,
        tables go to files so that memory stays flat while later parts are on their way.
        """
        workspace = self.workspace if spill else None
        if self._asks(segment):
            yield from ordered_map(
                lambda state: self._one(segment, state, workspace),
                states,
                self._asking,
                self._together,
            )
            return
        if self.workers == 1:
            for state in states:
                yield self._one(segment, state, workspace)
            return
        stream = iter(states)
        slow = any(not is_columnar(step) for step in segment.steps) or (
            isinstance(segment.cut, Gather)
            or (isinstance(segment.cut, Whole) and not is_columnar(segment.cut))
        )
        if slow and self.settings.large and can_travel(segment):
            first = next(stream, None)
            if first is None:
                return
            began = time.perf_counter()
            yield self._one(segment, first, workspace)
            if (time.perf_counter() - began) * (parts() - 1) > _WORTH_PROCESSES:
                yield from self._on_processes(segment, stream)
                return
        yield from ordered_map(
            lambda state: self._one(segment, state, workspace),
            stream,
            self.threads,
            self.workers + 1,
        )

    def _one(
        self, segment: Segment, state: PartitionState, workspace: Workspace | None
    ) -> PartitionState:
        out = run_segment(segment, state, self.settings, driver=self.driver, workspace=workspace)
        release(state.rows)
        return out

    @staticmethod
    def _asks(segment: Segment) -> bool:
        """Return whether the segment's own work asks; of a cut, only a `Whole`'s sketches are."""
        sketching = [segment.cut] if isinstance(segment.cut, Whole) else []
        return any(asks(step) for step in [*segment.steps, *sketching])

    def _on_processes(
        self, segment: Segment, states: Iterator[PartitionState]
    ) -> Iterator[PartitionState]:
        if self._processes is None:
            self._processes = worker_pool(self.workers)

        def submitted() -> Iterator[tuple[Segment, PartitionState, Settings, str]]:
            for state in states:
                if not isinstance(state.rows, os.PathLike):
                    state.rows = self.workspace.spill(state.rows)
                state.gone = [
                    t if isinstance(t, os.PathLike) else self.workspace.spill(t) for t in state.gone
                ]
                yield segment, state, self.settings, str(self.workspace.folder)

        try:
            yield from ordered_map(_in_process, submitted(), self._processes, self.workers + 1)
        except BrokenProcessPool as error:
            raise StoppedShort(
                "a worker process ended abruptly, which happens when memory runs out; run the same "
                "command again with fewer of them (--workers 1)"
            ) from error


def _in_process(job: tuple[Segment, PartitionState, Settings, str]) -> PartitionState:
    """Run one part in a worker process; only paths travel."""
    from pathlib import Path

    segment, state, settings, folder = job
    workspace = Workspace(Path(folder))
    out = run_segment(segment, state, settings, workspace=workspace)
    out.ledger = [
        one if isinstance(one.held, os.PathLike) else one._replace(held=workspace.spill(one.held))
        for one in out.ledger
    ]
    release(state.rows)
    return out
