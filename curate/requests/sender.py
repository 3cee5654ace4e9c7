"""Send requests: one attempt in flight per key, bounded concurrency, bounded retries, money first.

Whoever asks for a key that is in flight waits for the same reply. Each attempt reserves its upper
bound, asks, and commits reply and bill in one transaction. Only what waits for the server takes up
concurrency: neither a commit nor a pause between tries does, so that a slow disk or a few slow
requests do not stop the others.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from curate.ask import Reply
from curate.errors import NotSent, PermanentFault, StoppedShort, TemporaryFault, UsageError
from curate.models.model import BatchModel, Model
from curate.requests.batch.queue import BatchQueue
from curate.requests.concurrency import AdaptiveLimiter
from curate.requests.rate_limit import Rate, expected_tokens
from curate.requests.session import InFlight, RequestCounts
from curate.store import replies
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
    """Take requests to their replies until told to stop."""

    def __init__(
        self,
        store: Store,
        spending: Budget,
        counts: RequestCounts,
        models: Mapping[str, Model],
        resolved: Callable[[InFlight], None],
        concurrency: int | None = None,
    ) -> None:
        """Make a limiter for each model; `resolved` is called in the loop for every request."""
        self._store, self._spending, self._counts = store, spending, counts
        self._tell_waiters, self._random = resolved, random.Random()
        self._limiters: dict[int, AdaptiveLimiter] = {}
        self._batch_queues: dict[int, BatchQueue] = {}
        for name, model in models.items():
            most = model.info.max_concurrency
            self._limiters[id(model)] = AdaptiveLimiter(
                min(most, concurrency or most), name, rate=Rate.of(model.info)
            )
            if model.info.discount is not None:
                batched = cast("BatchModel", model)
                self._batch_queues[id(model)] = BatchQueue(batched, self, store, spending, counts)
        self._reserving = GroupCommit(store.commit, self._reserve)
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
        """Queue a request: `dispatch` sends it when there is room, or it leaves with a batch."""
        self.inflights[inflight.key], model = inflight, id(inflight.model)
        queue = self._limiters[model].queue.append
        (self._batch_queues[model].submit if model in self._batch_queues else queue)(inflight)

    def answered_before(self, model: Model) -> None:
        """Note that the store has replies of `model`: it does not refuse every request."""
        self._limiters[id(model)].trusted = True

    def rest(self) -> None:
        """Note that nothing more is asked before a reply comes: batches may leave."""
        if not (self._holding or self._timers or any(g.waiting for g in self._limiters.values())):
            for batch_queue in self._batch_queues.values():
                batch_queue.rest()

    def dispatch(self) -> None:
        """Start attempts as far as the limiters allow."""
        if self._store.full and self.stopped is None:
            self.stop(self._store.disk_full())
        pauses = []
        for limiter in self._limiters.values():
            while limiter.queue and limiter.open and not (self._tight or self.stopped):
                limiter.begun += 1
                self.begin(self._attempt(limiter.queue.popleft(), limiter))
            limiter.admit()
            if limiter.waiting and (pause := limiter.wait()) > 0:
                pauses.append(pause)
        if not pauses or self.stopped:
            return
        loop, timer = asyncio.get_running_loop(), self._pause_timer
        if timer is not None and not timer.cancelled() and timer.when() > loop.time():
            if timer.when() <= loop.time() + min(pauses):
                return
            timer.cancel()
        self._pause_timer = loop.call_later(min(pauses), self.wake.set)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; an error that it ends with stops the sender."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

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
        """Reserve what an attempt may cost, wait for its turn, and send it."""
        self._holding += 1
        ended, granted = self._attempts_ended, None
        try:
            granted = await self._reserving(inflight)
            if isinstance(granted, StoredReply):
                self._counts.replayed += 1
                self.resolved(inflight, granted.reply, granted.attempt)
            elif granted is None:
                tokens = expected_tokens(inflight.request) if limiter.rate else 0
                if self.stopped is None and await limiter.enter(tokens):
                    await self._send(inflight, limiter)
                else:
                    await self._cancel(inflight)
        finally:
            self._holding -= 1
            limiter.begun -= 1
        if not isinstance(granted, BudgetRefusal):
            self._tight = False
            self._attempts_ended += 1
            return
        # Stop at a ceiling, unless attempts under way, or settled meanwhile, may leave room.
        limiter.queue.appendleft(inflight)
        if granted.final or not (self._holding or ended < self._attempts_ended):
            self.stop(granted.error)
        else:
            self._tight = self._holding > 0

    def _reserve(
        self, connection: sqlite3.Connection, inflights: list[InFlight]
    ) -> list[StoredReply | BudgetRefusal | None]:
        """Reserve, inside a transaction, unless another process has stored the reply meanwhile."""
        wanted = {f.key: replies.Wanted(f.request, f.identity, f.attempt) for f in inflights}
        stored = replies.find(self._store, wanted, connection)
        absent = [inflight for inflight in inflights if inflight.key not in stored]
        attempts = [(inflight.bound, inflight.tries > 0) for inflight in absent]
        refusals = iter(self._spending.reserve(connection, attempts))
        return [stored[f.key] if f.key in stored else next(refusals) for f in inflights]

    async def _cancel(self, inflight: InFlight) -> None:
        """Take back the reservation of an attempt that was not sent."""
        bound, retry = inflight.bound, inflight.tries > 0
        await self._store.commit(lambda c: self._spending.cancel(c, bound, retry=retry))

    async def _send(self, inflight: InFlight, limiter: AdaptiveLimiter) -> None:
        """Ask the model, let the limiter learn from what comes, and settle the attempt."""
        began, task, retry = limiter.began(inflight.key), asyncio.current_task(), inflight.tries > 0
        assert task is not None
        self._counts.sent += 1
        self._counts.retried += retry
        self._asking.add(task)
        answer: Reply | Exception
        try:
            answer = await inflight.model.answer(
                inflight.request, key=inflight.key, attempt=inflight.attempt
            )
        except Exception as error:
            answer = error
        finally:
            self._asking.discard(task)
        if isinstance(answer, NotSent):
            limiter.leave()
            self._counts.sent -= 1
            self._counts.retried -= retry
            await self._cancel(inflight)
            await self._store.commit(lambda c: self._spending.count(c, replayed=0, failed=1))
            self._counts.failed += 1
            self.gave_up(inflight, answer)
            return
        inflight.tries += 1
        if isinstance(answer, UsageError | StoppedShort):
            self.stop(answer)  # The model itself cannot be used: no row is to blame.
        elif not isinstance(answer, Reply):
            if away := limiter.failed(answer, began, inflight.key):
                self.stop(away)
        else:
            limiter.answered()
            bill = bill_of(inflight.bound, answer, inflight.model.info.price)
            if overshoot := self._spending.overshoot(inflight.bound, bill):
                self.stop(overshoot)
            if limiter.rate is not None:
                used = answer.input_tokens + answer.output_tokens
                limiter.rate.correct(expected_tokens(inflight.request), used)
        limiter.leave()
        if isinstance(answer, Reply):
            stored, bill = await self._keeping((inflight, answer))
            self._counts.input_tokens += answer.input_tokens
            self._counts.output_tokens += answer.output_tokens
            self._counts.cost_usd += bill / PICO
            self.resolved(inflight, stored.reply, stored.attempt)
        else:
            await self._settle_fault(inflight, answer)

    def _keep(
        self, connection: sqlite3.Connection, answered: list[tuple[InFlight, Reply]]
    ) -> list[tuple[StoredReply, int]]:
        """Store replies and settle their bills, inside one transaction."""
        bills = self._spending.settle_replies(
            connection, [(one.bound, reply, one.model.info.price) for one, reply in answered]
        )
        paid = [Paid(f.key, f.attempt, reply, f.request, f.identity) for f, reply in answered]
        return list(zip(replies.save(self._store, connection, paid), bills, strict=True))

    async def _settle_fault(self, inflight: InFlight, error: Exception) -> None:
        """Settle an attempt that brought no reply, then give the request up or try it later."""
        bill, most, cause = 0, 0, "permanent"
        if isinstance(error, TemporaryFault):
            cause = error.cause
            bill = 0 if cause in UNBILLED else inflight.bound
            most = LIMITED_TRIES if cause == "rate_limit" else MAX_TRIES
        elif not isinstance(error, PermanentFault):
            bill = inflight.bound
        last = inflight.tries >= most

        def settle(connection: sqlite3.Connection) -> None:
            self._spending.settle(connection, inflight.bound, bill)
            if last:
                self._spending.count(connection, replayed=0, failed=1)

        await self._store.commit(settle)
        self._counts.cost_usd += bill / PICO
        self._counts.causes[cause] = self._counts.causes.get(cause, 0) + 1
        if last:
            self._counts.failed += 1
            self.gave_up(inflight, error)
        if last or self.stopped is not None:
            return
        # The pause doubles with each try, unless the server asks for a longer one.
        doublings = min(inflight.tries - 1, MOST_DOUBLINGS)
        pause = inflight.model.info.retry_delay * 2**doublings * self._random.uniform(0.5, 1.0)
        if cause == "rate_limit":
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

    def gave_up(self, inflight: InFlight, error: Exception) -> None:
        """Tell those who wait for a request that it failed."""
        if isinstance(error, TemporaryFault):
            error = TemporaryFault(
                f"no reply after {inflight.tries} attempts: {error}", cause=error.cause
            )
        inflight.error = error
        self._tell(inflight)

    def resolved(self, inflight: InFlight, reply: Reply, attempt: int) -> None:
        """Tell those who wait for a request its reply."""
        inflight.reply, inflight.attempt = reply, attempt
        self._tell(inflight)

    def _tell(self, inflight: InFlight) -> None:
        del self.inflights[inflight.key]
        self._tell_waiters(inflight)
