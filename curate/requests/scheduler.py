"""Drive many jobs at once: replay what the store has, ask for the rest, resume what was answered.

Everything here runs in one event loop, so the store and the requests in flight never disagree. Jobs
come in orders, one for each call of the driver; orders follow each other without a gap, so that the
last slow replies of one leave no place empty. Jobs are started in order, a window of them at a
time, and looked up in batches: replaying a finished run costs one statement for hundreds of rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from curate.errors import RecipeError, UnusableReply
from curate.models.model import Model
from curate.requests.resolve import Resolved, Resolver
from curate.requests.sender import Sender
from curate.requests.session import InFlight, Outcome, RequestCounts, RowTask, TaskSession
from curate.store import replies
from curate.store.budget import Budget
from curate.store.store import Store, StoredReply

BATCH = 512
PROGRESS_SECONDS = 0.2


class Limits(NamedTuple):
    """How much a schedule holds at once; no output depends on it.

    `window` bounds the jobs begun and not ended, `open_generators` those of them whose waiting
    generator is kept: the others are released and entered again.
    """

    window: int
    open_generators: int
    concurrency: int | None = None


class RetryFailed:
    """Decide which stored replies `--retry-failed` asks for anew.

    A row that fails on replies from an earlier run raises the attempt of the reply that it could
    not use: the one that `UnusableReply` names, else the whole last wave. Each key is raised once
    in a process, and what this process itself has sent is not raised at all.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._least: dict[str, int] = {}
        self._settled: set[str] = set()

    def least(self, key: str) -> int:
        """Return the lowest attempt that may be replayed."""
        return self._least.get(key, 0)

    def sent(self, key: str) -> None:
        """Note that this process has asked `key`."""
        if self.enabled:
            self._settled.add(key)

    def applies(self, session: TaskSession, outcome: Outcome) -> bool:
        """Raise attempts for what failed; `False` when nothing did, or that was done already.

        That is a row, or some of the rows that were made of it: those name their replies.
        """
        if not self.enabled or not session.wave or session.position < len(session.keys):
            return False
        attempts = dict(zip(session.keys, session.attempts, strict=False))
        if outcome.error is not None:
            wave = session.last_wave()
            named = outcome.error.key if isinstance(outcome.error, UnusableReply) else ""
            keys = [named] if named in wave else list(wave)
        else:
            unusable = session.job.unusable
            keys = [] if unusable is None else list(unusable(outcome.value))
        found = False
        for key in keys:
            if key not in attempts:
                continue
            if key not in self._settled:
                self._settled.add(key)
                self._least[key] = attempts[key] + 1
            found = found or attempts[key] < self.least(key)
        return found


class TaskOrder:
    """The jobs of one call, how many of them have begun and ended, and what came of them."""

    def __init__(self, jobs: Sequence[RowTask], finished: asyncio.Future[list[Outcome]]) -> None:
        self.jobs, self.finished = jobs, finished
        self.begun, self.left = 0, len(jobs)
        self.outcomes: list[Outcome | None] = [None] * len(jobs)

    def end(self, index: int, outcome: Outcome) -> None:
        """Note one outcome; the last one finishes the order."""
        self.outcomes[index] = outcome
        self.left -= 1
        if not self.left and not self.finished.done():
            self.finished.set_result([o for o in self.outcomes if o is not None])


class Scheduler:
    """All jobs of a driver, from the first call to the last."""

    def __init__(
        self,
        store: Store,
        models: Mapping[str, Model],
        resolver: Resolver,
        spending: Budget,
        counts: RequestCounts,
        retry_failed: RetryFailed,
        limits: Limits,
        progress: Callable[[RequestCounts], None] | None = None,
    ) -> None:
        """Prepare; `run` must be awaited in the event loop that the models live in."""
        self._store, self._models, self._resolver = store, models, resolver
        self._spending, self._counts, self._retry_failed = spending, counts, retry_failed
        self._limits, self._progress = limits, progress
        self.sender = Sender(store, spending, counts, models, self._resolved, limits.concurrency)
        self.sender.retry_failed = retry_failed.enabled
        self._orders: list[TaskOrder] = []
        self._waiting: deque[TaskOrder] = deque()
        self._begun = self._ended = self._open = 0
        self._ready: deque[TaskSession] = deque()
        self._batch = max(1, min(BATCH, limits.open_generators))
        self._closed = False

    async def carry_out(self, jobs: Sequence[RowTask]) -> list[Outcome]:
        """Return the outcome of every job, or raise what stopped the driver, once it is drained."""
        order = TaskOrder(jobs, asyncio.get_running_loop().create_future())
        self._counts.asking += len(jobs)
        self._orders.append(order)
        self._waiting.append(order)
        self.sender.wake.set()
        try:
            return await order.finished
        finally:
            self._orders.remove(order)
            self._report()

    async def run(self) -> None:
        """Carry out orders until `close`, or until something stops the sender."""
        reporting = asyncio.create_task(self._report_often())
        while not self._closed:
            try:
                if self.sender.stopped is None:
                    self._advance()
                    self.sender.dispatch()
            except Exception as error:
                self.sender.stop(error)
            if self.sender.stopped is not None:
                await self.sender.drain()
                self._waiting.clear()
                for order in self._orders:
                    if not order.finished.done():
                        order.finished.set_exception(self.sender.stopped)
            if self.sender.stopped is None and (self._ready or self._may_begin()):
                await asyncio.sleep(0)
            else:
                self.sender.rest()
                await self.sender.wake.wait()
            self.sender.wake.clear()
        await self.sender.drain()
        reporting.cancel()
        await self.sender.leave()

    def close(self) -> None:
        """Let `run` end."""
        self._closed = True
        self.sender.wake.set()

    async def _report_often(self) -> None:
        while self._progress is not None:
            if self._orders:
                self._report()
            await asyncio.sleep(PROGRESS_SECONDS)

    def _report(self) -> None:
        if self._progress is not None:
            self._counts.busy = self.sender.busy
            self._progress(self._counts)

    def _may_begin(self) -> bool:
        return bool(self._waiting) and self._begun - self._ended < self._limits.window

    # -- sessions ---------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Resume sessions, those that were answered first, until each ends or waits for a reply."""
        batch: list[TaskSession] = []
        while self._ready and len(batch) < self._batch:
            session = self._ready.popleft()
            self._open -= session.generator is not None
            if session.faults:
                # All of the wave is resolved: the first fault in the order asked is the one told,
                # so that the error of a row does not depend on the order of arrival.
                session.fail(next(session.faults[k] for k in session.wave if k in session.faults))
                self._end(session)
                continue
            if session.generator is not None:
                session.answer(session.received)
            batch.append(session)
        while self._may_begin() and len(batch) < self._batch:
            order = self._waiting[0]
            batch.append(TaskSession(order.begun, order.jobs[order.begun], order.end))
            self._begun += 1
            order.begun += 1
            if order.begun == len(order.jobs):
                self._waiting.popleft()
        while batch:
            waves = [(session, wave) for session in batch if (wave := self._resume(session))]
            # What is in flight is waited for, even where its reply is about to be stored.
            wanted = {
                one.key: one.wanted(self._retry_failed.least(one.key))
                for _, (asked, _) in waves
                for one in asked
                if one.key not in self.sender.inflights
            }
            stored = replies.find(self._store, wanted)
            batch = [one for one, (wave, new) in waves if self._match(one, wave, new, stored)]

    def _resume(self, session: TaskSession) -> tuple[list[Resolved], bool] | None:
        """Run the step to its next wave; return it and whether it is new."""
        requests = session.resume()
        if requests is not None:
            try:
                wave = [self._resolver.resolve(request, session.job) for request in requests]
            except RecipeError:
                raise
            except Exception as error:  # a request that is not JSON data: this row's failure
                session.fail(error)
            else:
                new = session.ask([asked.key for asked in wave])
                if session.outcome is None:
                    return wave, new
        self._end(session)
        return None

    def _match(
        self,
        session: TaskSession,
        wave: list[Resolved],
        new: bool,
        stored: Mapping[str, StoredReply],
    ) -> bool:
        """Answer a wave that is stored whole; else make the session wait and return `False`."""
        needed = {asked.key: asked for asked in wave}
        missing = [asked for key, asked in needed.items() if key not in stored]
        inflights = [self.sender.inflights.get(asked.key) for asked in missing]
        if new:
            self._counts.replay(session.job.step, len(needed) - inflights.count(None))
        if len(missing) < len(needed):
            answered = next(asked for key, asked in needed.items() if key in stored)
            self.sender.answered_before(self._models[answered.model])
        if not missing:
            session.answer(stored)
            return True
        try:
            bounds = [self._spending.bound(asked.request, asked.info) for asked in missing]
        except RecipeError:
            raise
        except Exception as error:  # a prompt that is not text: this row's failure
            session.fail(error)
            self._end(session)
            return False
        session.missing = len(missing)
        for asked, inflight, bound in zip(missing, inflights, bounds, strict=True):
            if inflight is None:
                least, model = self._retry_failed.least(asked.key), self._models[asked.model]
                step = session.job.step
                inflight = InFlight(asked.key, least, asked.request, model, bound, step)
                self.sender.submit(inflight)
            inflight.waiters.append(session)
        session.received = {key: stored[key] for key in needed if key in stored}
        if self._open < self._limits.open_generators:
            self._open += 1
        else:
            session.release()
        return False

    def _end(self, session: TaskSession) -> None:
        outcome = session.outcome
        assert outcome is not None
        if self._retry_failed.applies(session, outcome):
            session.release()
            self._ready.append(session)
            return
        self._ended += 1
        self._counts.answered += 1
        session.ended(session.index, outcome)

    def _resolved(self, inflight: InFlight) -> None:
        """Tell the sessions that wait for a request what came of it."""
        self._retry_failed.sent(inflight.key)
        for session in inflight.waiters:
            if inflight.error is not None:
                session.faults[inflight.key] = inflight.error
            elif inflight.reply is not None and session.generator is not None:
                session.received[inflight.key] = StoredReply(inflight.attempt, inflight.reply)
            session.missing -= 1
            if not session.missing:
                self._ready.append(session)
