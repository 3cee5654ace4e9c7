"""The driver: the one place where what steps yield becomes requests, and replies become values.

It looks synchronous. Behind it an event loop lives in a thread of its own, so that it works in a
notebook (where the calling thread has a loop already), connections outlive one call, and Ctrl-C
reaches the caller at once while replies that have arrived are still committed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, TimeoutError
from types import TracebackType
from typing import Any, TypeVar

from curate.engine.requests.cursor import Job, Outcome
from curate.engine.requests.schedule import Again, Limits, Schedule
from curate.engine.requests.send import Counts
from curate.engine.requests.spending import Spending
from curate.engine.requests.store import Store
from curate.models.model import Model

OPEN_GENERATORS = 1024
# Jobs begun ahead of each place for a request, so that no place waits for the next job.
WINDOW_PER_PLACE = 4
LEAST_WINDOW = 512
# After Ctrl-C: how long replies on their way may still arrive, and when all waiting ends.
GRACE_SECONDS = 1.0
INTERRUPT_SECONDS = 1.6

T = TypeVar("T")


class Driver:
    """Run jobs against models, through the store. Use it as a context manager."""

    def __init__(
        self,
        store: Store,
        models: Mapping[str, Model],
        *,
        spending: Spending,
        retry_failed: bool = False,
        concurrency: int | None = None,
        progress: Callable[[Counts], None] | None = None,
        open_generators: int = OPEN_GENERATORS,
        window: int | None = None,
    ) -> None:
        """Refuse models whose price is unknown under a ceiling; nothing is started yet.

        Args:
            store: where replies are kept.
            models: what `Request.model` names, encoders included.
            spending: the run's tally and ceilings.
            retry_failed: ask again where a row failed on a stored reply.
            concurrency: a bound for every model, below its own `max_concurrency`.
            progress: called from the driver's thread with its counts, several times a second.
            open_generators: how many waiting generators are kept; the others are replayed.
            window: how many jobs are begun at once; by default a few per place for a request.
        """
        for name, model in models.items():
            spending.check(name, model)
        self.store, self.models, self.spending = store, models, spending
        self.counts = Counts()
        self._again, self._progress = Again(retry_failed), progress
        places = sum(
            min(model.max_concurrency, concurrency or model.max_concurrency)
            for model in models.values()
        )
        self._limits = Limits(
            window or max(LEAST_WINDOW, WINDOW_PER_PLACE * places), open_generators, concurrency
        )
        self._thread: _LoopThread | None = None
        # A step's own code did not give the loop back after an interrupt.
        self._stuck = False

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Return the outcome of every job, in the order of `jobs`.

        Raises:
            CeilingReached: a ceiling was reached; what was in flight is committed.
            DiskFull: the store's disk is full; what was in flight is committed.
            StoreError: the store cannot be read or written.
            RecipeError: a step asks a model that is not there, or cannot keep --max-cost.
            KeyboardInterrupt: within two seconds, with what had arrived committed.
        """
        if not jobs:
            return []
        thread = self._loop_thread()
        schedule = thread.call(self._schedule(jobs)).result()
        replayed = self.counts.replayed
        running = thread.call(schedule.run())
        try:
            return running.result()
        except KeyboardInterrupt:
            self._interrupt(thread, schedule, running)
            raise
        finally:
            self._count_replays(self.counts.replayed - replayed)

    def close(self) -> None:
        """Close the models and end the thread."""
        thread = self._loop_thread()
        if not self._stuck:
            for model in self.models.values():
                thread.call(model.close()).result()
        thread.close()
        self._thread = None

    async def _schedule(self, jobs: Sequence[Job]) -> Schedule:
        return Schedule(
            jobs,
            self.store,
            self.models,
            self.spending,
            self.counts,
            self._again,
            self._limits,
            self._progress,
        )

    def _interrupt(
        self, thread: _LoopThread, schedule: Schedule, running: Future[list[Outcome]]
    ) -> None:
        """Stop sending, give replies a moment to arrive, then stop waiting for servers."""

        def stop() -> None:
            schedule.sender.stop(InterruptedError("interrupted"))
            thread.loop.call_later(GRACE_SECONDS, schedule.sender.abandon)

        thread.loop.call_soon_threadsafe(stop)
        try:
            running.result(timeout=INTERRUPT_SECONDS)
        except InterruptedError:
            return
        except TimeoutError:
            self._stuck = True

    def _count_replays(self, replayed: int) -> None:
        if replayed and not self.store.full:
            self.store.commit_now(
                lambda connection: self.spending.count(connection, replayed=replayed, failed=0)
            )

    def _loop_thread(self) -> _LoopThread:
        if self._thread is None:
            self._thread = _LoopThread()
        return self._thread


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="curate-driver", daemon=True
        )
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """End the loop; a thread that is stuck in a step's own code is left behind."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self.loop.close()


__all__ = ["Counts", "Driver", "Job", "Outcome"]
