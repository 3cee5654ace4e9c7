"""Send requests: one flight per key, bounded concurrency, bounded retries, money first.

A flight is one request on its way to one durable reply; whoever asks the same meanwhile waits for
the same flight. Each attempt reserves its upper bound, asks, and commits reply and bill in one
transaction. Only what waits for the server holds a place: neither a commit nor a pause between
tries does, so that a slow disk or a few slow requests do not stop the others.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from curate.ask import Reply
from curate.errors import PermanentFault, StoppedShort, TemporaryFault, UsageError
from curate.models.model import Model, identity_for
from curate.requests.batch.queue import BatchQueue
from curate.requests.concurrency import AdaptiveLimiter
from curate.requests.inflight import InFlight, RequestCounts
from curate.requests.rate_limit import Rate, expected_tokens
from curate.store import replies as keep
from curate.store.budget import PICO, Budget, BudgetRefusal, bill_of
from curate.store.commit import GroupCommit
from curate.store.store import Paid, Store, StoredReply

MAX_TRIES = 5
# A rate limit says nothing about the request: giving up early would lose rows of a busy hour. With
# 70 % of all tries refused, one row in three hundred is given up.
LIMITED_TRIES = 16
LONGEST_LIMITED_PAUSE_SECONDS = 8.0
MAX_PAUSE_SECONDS = 60.0
# A server that asks to be left alone for longer is asked again all the same.
LONGEST_ASKED_SECONDS = 600.0
# A pause grows 64-fold at most: a server that refuses is asked again within half a minute.
MOST_DOUBLINGS = 6
# A refusal by the server is not billed; anything else (a time-out, a broken answer) may have been.
UNBILLED = ("rate_limit", "server", "connect", "adapted")


class Sender:
    """Carry flights to their replies until told to stop."""

    def __init__(
        self,
        store: Store,
        spending: Budget,
        counts: RequestCounts,
        models: Mapping[str, Model],
        resolved: Callable[[InFlight], None],
        concurrency: int | None = None,
    ) -> None:
        """Make a gate for each model; `landed` is called in the event loop for every flight."""
        self._store, self._spending, self._counts = store, spending, counts
        self._tell_waiters, self._random = resolved, random.Random()
        self._limiters = {
            id(model): AdaptiveLimiter(
                min(model.max_concurrency, concurrency or model.max_concurrency),
                name,
                rate=Rate.of(model),
            )
            for name, model in models.items()
        }
        self._batch_queues = {
            id(model): BatchQueue(model, self, store, spending, counts)
            for model in models.values()
            if getattr(model, "batch", None) is not None
        }
        self._opening = GroupCommit(store.commit, self._open)
        self._keeping = GroupCommit(store.commit, self._keep)
        self.inflights: dict[str, InFlight] = {}
        self.stopped: BaseException | None = None
        self.retry_failed = False
        self.wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._pause_timer: asyncio.TimerHandle | None = None
        self._holding = self._attempts_ended = 0
        self._tight = False

    @property
    def concurrency(self) -> int:
        """How many attempts all models together take at once at present."""
        return sum(max(1, int(limiter.allowed)) for limiter in self._limiters.values())

    @property
    def busy(self) -> int:
        """How many attempts are under way."""
        return sum(limiter.busy for limiter in self._limiters.values())

    def submit(self, inflight: InFlight) -> None:
        """Queue a flight; `launch` sends it when there is a place, or it leaves with a batch."""
        self.inflights[inflight.key], model = inflight, id(inflight.model)
        queue = self._limiters[model].queue.append
        (self._batch_queues[model].submit if model in self._batch_queues else queue)(inflight)

    def rest(self) -> None:
        """Note that nothing more will be asked before something lands: batches may go."""
        if not (self._holding or self._timers or any(g.waiting for g in self._limiters.values())):
            for batch_queue in self._batch_queues.values():
                batch_queue.rest()

    def dispatch(self) -> None:
        """Start attempts while there are places."""
        if self._store.full and self.stopped is None:
            self.stop(self._store.disk_full())
        for limiter in self._limiters.values():
            while limiter.queue and limiter.open and not (self._tight or self.stopped):
                limiter.begun += 1
                self.begin(self._attempt(limiter.queue.popleft(), limiter))
            limiter.admit()
            if limiter.waiting and (pause := limiter.wait()) > 0 and not self.stopped:
                self._wake_in(pause)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; an error that it ends with stops the sender."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _wake_in(self, pause: float) -> None:
        """Look at the gates again when the first pause of one is over."""
        loop = asyncio.get_running_loop()
        if self._pause_timer is not None:
            if self._pause_timer.when() <= loop.time() + pause:
                return
            self._pause_timer.cancel()

        def over() -> None:
            self._pause_timer = None
            self.wake.set()

        self._pause_timer = loop.call_later(pause, over)

    def stop(self, reason: BaseException) -> None:
        """Send nothing more; the first reason counts."""
        self.stopped = self.stopped or reason
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        for limiter in self._limiters.values():
            limiter.shut()
        for batch_queue in self._batch_queues.values():
            batch_queue.shut()
        self.wake.set()

    async def drain(self) -> None:
        """Wait for the attempts under way, and commit what they bring."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Stop waiting for servers; replies that have arrived are still committed."""
        for task in list(self._asking):
            task.cancel()
        for batch_queue in self._batch_queues.values():
            batch_queue.abandon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # The store failed, or this module is wrong: either way nothing more may be sent.
            self.stop(error)
        self.wake.set()

    # -- one attempt ------------------------------------------------------------------------------

    async def _attempt(self, inflight: InFlight, limiter: AdaptiveLimiter) -> None:
        self._holding += 1
        ended, granted = self._attempts_ended, None
        try:
            granted = await self._opening(inflight)
            if isinstance(granted, StoredReply):
                self._counts.replayed += 1
                self.resolved(inflight, granted.reply, granted.attempt)
            elif granted is None and self.stopped is None and await self._enter(inflight, limiter):
                await self._send(inflight, limiter)
            elif granted is None:
                await self._store.commit(lambda connection: self._take_back(connection, inflight))
        finally:
            self._holding -= 1
            limiter.begun -= 1
        if isinstance(granted, BudgetRefusal):
            self._refused(inflight, limiter, granted, ended)
        else:
            self._tight = False
            self._attempts_ended += 1

    @staticmethod
    async def _enter(inflight: InFlight, limiter: AdaptiveLimiter) -> bool:
        return await limiter.enter(expected_tokens(inflight.request) if limiter.rate else 0)

    def _open(
        self, connection: sqlite3.Connection, inflights: list[InFlight]
    ) -> list[StoredReply | BudgetRefusal | None]:
        """Reserve, inside a transaction, unless another process has stored the reply meanwhile."""
        wanted = {f.key: keep.Wanted(f.request, _owner(f), f.attempt) for f in inflights}
        stored = keep.find(self._store, wanted, connection)
        absent = [inflight for inflight in inflights if inflight.key not in stored]
        attempts = [(inflight.bound, inflight.tries > 0) for inflight in absent]
        refusals = iter(self._spending.reserve(connection, attempts))
        return [stored[f.key] if f.key in stored else next(refusals) for f in inflights]

    def _take_back(self, connection: sqlite3.Connection, inflight: InFlight) -> None:
        self._spending.cancel(connection, inflight.bound, retry=inflight.tries > 0)

    def _refused(
        self, inflight: InFlight, limiter: AdaptiveLimiter, refusal: BudgetRefusal, ended: int
    ) -> None:
        """Stop at a ceiling, or wait while attempts under way may still settle for less.

        `ended` is how many had settled when the flight asked: more now, and there may be room.
        """
        limiter.queue.appendleft(inflight)
        if refusal.final or not (self._holding or ended < self._attempts_ended):
            self.stop(refusal.error)
        else:
            self._tight = self._holding > 0

    async def _send(self, inflight: InFlight, limiter: AdaptiveLimiter) -> None:
        self._counts.sent += 1
        self._counts.retried += inflight.tries > 0
        inflight.tries += 1
        began = limiter.began()
        answer = await self._ask(inflight)
        if isinstance(answer, Reply):
            limiter.answered()
            self._look_at_the_bill(inflight, answer, limiter)
        elif isinstance(answer, UsageError | StoppedShort):
            self.stop(answer)  # The model itself cannot be used: no row is to blame.
        elif away := limiter.failed(answer, began, inflight.key):
            self.stop(away)
        limiter.leave()
        if isinstance(answer, Reply):
            await self._arrived(inflight, answer)
        else:
            await self._missed(inflight, answer)

    def _look_at_the_bill(self, inflight: InFlight, reply: Reply, limiter: AdaptiveLimiter) -> None:
        """Stop at once when a server bills too much; correct what the rate assumed."""
        bill = bill_of(inflight.bound, reply, inflight.model.price)
        if overshoot := self._spending.overshoot(inflight.bound, bill):
            self.stop(overshoot)
        if limiter.rate is not None:
            used = reply.input_tokens + reply.output_tokens
            limiter.rate.correct(expected_tokens(inflight.request), used)

    async def _ask(self, inflight: InFlight) -> Reply | Exception:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await inflight.model.answer(
                inflight.request, key=inflight.key, attempt=inflight.attempt
            )
        except Exception as error:
            return error
        finally:
            self._asking.discard(task)

    async def _arrived(self, inflight: InFlight, reply: Reply) -> None:
        stored, bill = await self._keeping((inflight, reply))
        self._counts.input_tokens += reply.input_tokens
        self._counts.output_tokens += reply.output_tokens
        self._counts.cost_usd += bill / PICO
        self.resolved(inflight, stored.reply, stored.attempt)

    def _keep(
        self, connection: sqlite3.Connection, answered: list[tuple[InFlight, Reply]]
    ) -> list[tuple[StoredReply, int]]:
        """Store replies and settle their bills, inside one transaction."""
        bills = self._spending.settle_replies(
            connection,
            [(inflight.bound, reply, inflight.model.price) for inflight, reply in answered],
        )
        paid = [Paid(f.key, f.attempt, reply, f.request, _owner(f)) for f, reply in answered]
        return list(zip(keep.save(self._store, connection, paid), bills, strict=True))

    async def _missed(self, inflight: InFlight, error: Exception) -> None:
        """Settle an attempt that brought no reply, then try again or give the request up."""
        bill = inflight.bound if _may_be_billed(error) else 0
        last = self._is_last(inflight, error)

        def settle(connection: sqlite3.Connection) -> None:
            self._spending.settle(connection, inflight.bound, bill)
            if last:
                self._spending.count(connection, replayed=0, failed=1)

        await self._store.commit(settle)
        self._counts.cost_usd += bill / PICO
        cause = error.cause if isinstance(error, TemporaryFault) else "permanent"
        self._counts.causes[cause] = self._counts.causes.get(cause, 0) + 1
        if last:
            self._counts.failed += 1
            self.gave_up(inflight, error)
        elif self.stopped is None:
            self._again_later(inflight, error)

    @staticmethod
    def _is_last(inflight: InFlight, error: Exception) -> bool:
        if not isinstance(error, TemporaryFault):
            return True
        return inflight.tries >= (LIMITED_TRIES if error.cause == "rate_limit" else MAX_TRIES)

    def gave_up(self, inflight: InFlight, error: Exception) -> None:
        """Tell those who wait for a flight that it failed."""
        if isinstance(error, TemporaryFault):
            error = TemporaryFault(
                f"no reply after {inflight.tries} attempts: {error}", cause=error.cause
            )
        inflight.error = error
        self._tell(inflight)

    def _again_later(self, inflight: InFlight, error: Exception) -> None:
        doublings = min(inflight.tries - 1, MOST_DOUBLINGS)
        pause = inflight.model.retry_delay * 2**doublings * self._random.uniform(0.5, 1.0)
        if getattr(error, "cause", None) == "rate_limit":
            pause = min(pause, LONGEST_LIMITED_PAUSE_SECONDS)
        asked = getattr(error, "retry_after", None) or 0.0
        pause = max(min(pause, MAX_PAUSE_SECONDS), min(asked, LONGEST_ASKED_SECONDS))
        handle: asyncio.TimerHandle

        def requeue() -> None:
            self._timers.discard(handle)
            self._limiters[id(inflight.model)].queue.appendleft(inflight)
            self.wake.set()

        handle = asyncio.get_running_loop().call_later(pause, requeue)
        self._timers.add(handle)

    def resolved(self, inflight: InFlight, reply: Reply, attempt: int) -> None:
        """Tell those who wait for a flight its reply."""
        inflight.reply, inflight.attempt = reply, attempt
        self._tell(inflight)

    def _tell(self, inflight: InFlight) -> None:
        del self.inflights[inflight.key]
        self._tell_waiters(inflight)


def _owner(inflight: InFlight) -> str:
    return identity_for(inflight.model, inflight.request)


def _may_be_billed(error: Exception) -> bool:
    if isinstance(error, TemporaryFault):
        return error.cause not in UNBILLED
    return not isinstance(error, PermanentFault)
