"""The driver: the one place where what steps yield becomes requests, and replies become values.

It looks synchronous. Behind it an event loop lives in a thread of its own, so that it works in a
notebook (where the calling thread has a loop already), connections outlive one call, and Ctrl-C
reaches the caller at once while replies that have arrived are still committed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from types import TracebackType
from typing import Any, TypeVar

from curate.models.model import Model
from curate.requests.encode import Encoder, Found
from curate.requests.resolve import Resolver
from curate.requests.scheduler import Limits, RetryFailed, Scheduler
from curate.requests.session import Outcome, RequestCounts, RowTask
from curate.store.budget import Budget
from curate.store.store import Store

_log = logging.getLogger(__name__)
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
        spending: Budget,
        retry_failed: bool = False,
        concurrency: int | None = None,
        progress: Callable[[RequestCounts], None] | None = None,
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
        infos = {name: model.info for name, model in models.items()}
        for name, info in infos.items():
            spending.check(name, info)
        warn_of_others(store, models)
        self.store, self.models, self.spending = store, models, spending
        self.counts = RequestCounts()
        self._retry_failed, self._progress = RetryFailed(retry_failed), progress
        self._resolver = Resolver(infos, bounded=spending.max_cost is not None)
        most = [info.max_concurrency for info in infos.values()]
        places = sum(min(one, concurrency or one) for one in most)
        self._limits = Limits(
            window or max(LEAST_WINDOW, WINDOW_PER_PLACE * places), open_generators, concurrency
        )
        self._encoder = Encoder(store, self._resolver, self.counts, self.run)
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._schedule: Scheduler | None = None
        self._ran: Future[None]
        self._running: set[Future[list[Outcome]]] = set()
        self._counted = dict[str, int]()
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

    @property
    def batches(self) -> bool:
        """Whether some model is asked in batch jobs, so that many rows should wait together."""
        return any(model.info.discount is not None for model in self.models.values())

    def run(self, jobs: Sequence[RowTask]) -> list[Outcome]:
        """Return the outcome of every job, in the order of `jobs`. Threads may call it at once.

        Raises:
            CeilingReached: a ceiling was reached; what was in flight is committed.
            DiskFull: the store's disk is full; what was in flight is committed.
            StoreError: the store cannot be read or written.
            RecipeError: a step asks a model that is not there, or cannot keep --max-cost.
            KeyboardInterrupt: within two seconds, with what had arrived committed.
            InterruptedError: another thread closed the driver meanwhile.
        """
        if not jobs:
            return []
        thread, schedule = self._begun()
        running = thread.call(schedule.carry_out(jobs))
        self._running.add(running)
        try:
            return running.result()
        except KeyboardInterrupt:
            self.interrupt()
            raise
        except CancelledError:
            raise _interrupted() from None
        finally:
            self._running.discard(running)
            with self._lock:
                now, before = dict(self.counts.replays), self._counted
                self._counted = now
            new = {step: count - before.get(step, 0) for step, count in now.items()}
            if any(new.values()) and not self.store.full:
                self.store.commit_now(
                    lambda connection: self.spending.count_replays(connection, new)
                )

    def embed(self, name: str | None, texts: Sequence[str], step: str = "") -> Found:
        """Return where the store has the vector of each text, made by the encoder called `name`.

        What is asked for counts as spending of `step`. It raises what `run` raises.
        """
        return self._encoder.find(name, texts, step)

    def close(self) -> None:
        """Let calls under way end as after Ctrl-C, close the models and end the thread."""
        self.interrupt()
        thread, schedule = self._begun()
        if not self._stuck:
            thread.loop.call_soon_threadsafe(schedule.close)
            self._ran.result()
            for model in self.models.values():
                thread.call(model.close()).result()
        thread.close()
        self._thread = self._schedule = None

    def interrupt(self) -> None:
        """Stop sending, give replies a moment to arrive, then stop waiting for servers.

        Every call of `run` under way ends with `InterruptedError`.
        """
        running = tuple(self._running)
        if not running:
            return
        thread, schedule = self._begun()

        def stop() -> None:
            schedule.sender.stop(_interrupted())
            thread.loop.call_later(GRACE_SECONDS, schedule.sender.abandon)

        thread.loop.call_soon_threadsafe(stop)
        late = wait(running, timeout=INTERRUPT_SECONDS).not_done
        # A step's own code did not give the loop back: nobody waits for it any longer.
        self._stuck = self._stuck or bool(late)
        for one in late:
            one.cancel()

    def _begun(self) -> tuple[_LoopThread, Scheduler]:
        """Return the event loop's thread and the schedule in it, started with the first call."""

        async def new_schedule() -> Scheduler:
            return Scheduler(
                self.store,
                self.models,
                self._resolver,
                self.spending,
                self.counts,
                self._retry_failed,
                self._limits,
                self._progress,
            )

        with self._lock:
            if self._thread is None or self._schedule is None:
                self._thread = _LoopThread()
                self._schedule = self._thread.call(new_schedule()).result()
                self._ran = self._thread.call(self._schedule.run())
            return self._thread, self._schedule


def warn_of_others(store: Store, models: Mapping[str, Model]) -> None:
    """Say so where requests are at the provider in batch jobs that no model here will collect."""
    sql = (
        "SELECT model, COUNT(*) FROM batch_jobs JOIN batch_lines ON job = name "
        "GROUP BY model ORDER BY model"
    )
    infos = {name: model.info for name, model in models.items()}
    batched = {one.identity for one in infos.values() if one.discount is not None}
    names = {one.identity: name for name, one in infos.items() if one.identity not in batched}
    for identity, count in store.read(sql):
        if identity in names:
            _log.warning(
                "%d requests to model '%s' are in batch jobs at the provider; give it "
                "'batch: true' to collect them, or they are asked, and paid for, again",
                count, names[identity],
            )  # fmt: skip


def _interrupted() -> InterruptedError:
    return InterruptedError("interrupted; the same command goes on where this one ended")


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


__all__ = ["Driver", "Outcome", "RequestCounts", "RowTask"]
