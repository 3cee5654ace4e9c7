"""Send requests: one attempt in flight per key, bounded concurrency, bounded retries, money first.

Whoever asks for a key that is in flight waits for the same reply. Each attempt reserves its upper
bound, asks, and commits reply and bill in one transaction. Only what waits for the server takes up
concurrency: neither a commit nor a pause between tries does, so that a slow disk or a few slow
requests do not stop the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, cast

from curate.ask import Reply
from curate.errors import (
    CurateError,
    NotSent,
    PermanentFault,
    StoppedShort,
    TemporaryFault,
    UsageError,
)
from curate.models.model import BatchModel, Model
from curate.requests.batch.queue import BatchQueue
from curate.requests.concurrency import AdaptiveLimiter
from curate.requests.rate_limit import Rate, expected_tokens
from curate.requests.session import InFlight, RequestCounts
from curate.store import replies
from curate.store.budget import PICO, Budget, BudgetRefusal, bill_of
from curate.store.commit import GroupCommit
from curate.store.replies import JOIN_SECONDS, LOOK_SECONDS, RENEWED_SECONDS, Leases
from curate.store.store import Paid, Store, StoredReply
from curate.system.credentials import without_secrets

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
# How often it is looked whether what another process asks for has come. It may be in a batch job,
# for hours: each look that was in vain makes the pause to the next one longer.
LEASED_SECONDS, LONGEST_LEASED_SECONDS, LEASED_GROWTH = 0.2, 5.0, 1.5
# A refusal by the server is not billed; anything else (a time-out, a broken answer) may have been.
UNBILLED = ("rate_limit", "server", "connect", "adapted")


class Leased(enum.Enum):
    """Say that another process asks for a key at present."""

    BY_ANOTHER = 1


LEASED: Final = Leased.BY_ANOTHER


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
            # The loop's clock, which a simulation can set.
            clock = asyncio.get_running_loop().time
            self._limiters[id(model)] = AdaptiveLimiter(
                min(most, concurrency or most), name, clock, Rate.of(model.info, clock)
            )
            if model.info.discount is not None:
                batched = cast("BatchModel", model)
                self._batch_queues[id(model)] = BatchQueue(batched, self, store, spending, counts)
        self.leases = Leases()
        self._joined: asyncio.Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._reserving = GroupCommit(store.commit, self._reserve)
        self._keeping = GroupCommit(store.commit, self._keep)
        self.inflights: dict[str, InFlight] = {}
        self.stopped: BaseException | None = None
        self._over: tuple[BaseException, int, int] | None = None
        self.retry_failed = False
        self.wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        # Pauses of requests, and whether one is so short that batches wait for what comes of it.
        self._timers: dict[asyncio.TimerHandle, bool] = {}
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
        soon = self._holding or any(self._timers.values())
        if not (soon or any(limiter.waiting for limiter in self._limiters.values())):
            for batch_queue in self._batch_queues.values():
                batch_queue.rest()

    def dispatch(self) -> None:
        """Start attempts as far as the limiters allow."""
        if self._store.full and self.stopped is None:
            self.stop(self._store.disk_full())
        pauses = []
        for limiter in self._limiters.values():
            while limiter.queue and limiter.open and not (self._tight or self.stopped):
                info = limiter.queue[0].model.info
                if limiter.begun >= self._spending.most_at_once(info):
                    break
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
        if self._over is not None and self.stopped is self._over[0]:
            # The bills of what was under way are known by now: the message names the whole sum.
            _, bound, bill = self._over
            self.stopped, self._over = self._spending.overshoot(bound, bill), None

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
            await self.joined()
            granted = await self._reserving(inflight)
            if granted is LEASED:
                pause = max(LEASED_SECONDS, inflight.leased_pause * LEASED_GROWTH)
                inflight.leased_pause = min(pause, LONGEST_LEASED_SECONDS)
                soon = pause < LONGEST_LEASED_SECONDS
                self._later(inflight, inflight.leased_pause, first=False, soon=soon)
            elif isinstance(granted, StoredReply):
                self._counts.replay(inflight.step)
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
            self.leases.granted.discard(inflight.key)
        if not isinstance(granted, BudgetRefusal):
            self._tight = False
            self._attempts_ended += 1
            return
        # Stop at a ceiling, unless attempts under way, or settled meanwhile, may leave room. Those
        # that hold a reservation and wait for their turn are sent first: they are paid for.
        limiter.queue.appendleft(inflight)
        if not (self._holding or (ended < self._attempts_ended and not granted.final)):
            self.stop(granted.error)
        else:
            self._tight = self._holding > 0

    def _reserve(
        self, connection: sqlite3.Connection, inflights: list[InFlight]
    ) -> list[StoredReply | BudgetRefusal | Leased | None]:
        """Reserve, inside a transaction, what another process has neither stored nor under way."""
        wanted = {f.key: replies.Wanted(f.request, f.identity, f.attempt) for f in inflights}
        stored = replies.find(self._store, wanted, connection)
        absent = [inflight.key for inflight in inflights if inflight.key not in stored]
        leased = self.leases.of_others(connection, absent) if self.leases.shared else set[str]()
        free = [f for f in inflights if f.key not in stored and f.key not in leased]
        attempts = [(inflight.bound, inflight.tries > 0) for inflight in free]
        # Another thread: a list is made of the set at once, which may change while it is gone over.
        granted = map(self.inflights.get, list(self.leases.granted))
        under_way = sum(inflight.bound for inflight in granted if inflight is not None)
        refusals = self._spending.reserve(connection, attempts, under_way, [f.step for f in free])
        taken = [f.key for f, refusal in zip(free, refusals, strict=True) if refusal is None]
        self.leases.granted.update(taken)
        if self.leases.shared:
            self.leases.take(connection, taken)
        left = iter(refusals)
        return [
            stored[f.key] if f.key in stored else LEASED if f.key in leased else next(left)
            for f in inflights
        ]

    async def _cancel(self, inflight: InFlight) -> None:
        """Take back the reservation of an attempt that was not sent."""
        bound, retry = inflight.bound, inflight.tries > 0

        def cancel(connection: sqlite3.Connection) -> None:
            self._spending.cancel(connection, bound, retry=retry, step=inflight.step)
            self.leases.give(connection, [inflight.key])

        await self._store.commit(cancel)

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
            # Whatever library it is from: a failed row's error is written to files.
            if (hidden := without_secrets(str(error))) != str(error):
                error.args = (hidden,)
            answer = error
        finally:
            self._asking.discard(task)
        if isinstance(answer, NotSent):
            limiter.leave()
            self._counts.sent -= 1
            self._counts.retried -= retry
            await self._cancel(inflight)
            await self._store.commit(
                lambda c: self._spending.count(c, replayed=0, failed=1, step=inflight.step)
            )
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
            if bill > inflight.bound and (over := self._spending.overshoot(inflight.bound, bill)):
                self.stop(over)
                self._over = (over, inflight.bound, bill) if self._over is None else self._over
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
            connection,
            [(f.bound, reply, f.request, f.model.info) for f, reply in answered],
            [f.step for f, _ in answered],
        )
        self.leases.give(connection, [inflight.key for inflight, _ in answered])
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
            self._spending.settle(connection, inflight.bound, bill, inflight.step)
            if last:
                self._spending.count(connection, replayed=0, failed=1, step=inflight.step)
                self.leases.give(connection, [inflight.key])

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
        self._later(inflight, pause)

    def _later(
        self, inflight: InFlight, pause: float, *, first: bool = True, soon: bool = True
    ) -> None:
        """Queue a request again after a pause, before those that wait or behind them."""
        handle: asyncio.TimerHandle

        def requeue() -> None:
            self._timers.pop(handle, None)
            queue = self._limiters[id(inflight.model)].queue
            (queue.appendleft if first else queue.append)(inflight)
            self.wake.set()

        handle = asyncio.get_running_loop().call_later(pause, requeue)
        self._timers[handle] = soon

    async def joined(self) -> None:
        """Return once the other senders on the store know of this one."""
        if self._joined is None:
            self._joined = asyncio.ensure_future(self._join())
        if not self._joined.done():
            await self._joined

    async def _join(self) -> None:
        """Join the senders on this store; where there are others, wait until they lease, too."""
        others = await self._store.commit(self.leases.join)
        self._looking = asyncio.create_task(self._look_for_others())
        self._looking.add_done_callback(self._ended)
        began = time.monotonic()
        while others and self.stopped is None and time.monotonic() - began < JOIN_SECONDS:
            others = not all(self.leases.beside(self._store))
            await asyncio.sleep(LOOK_SECONDS / 10)

    async def _look_for_others(self) -> None:
        """Share leases once there is another sender, and tell the store that this one lives."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - renewed >= RENEWED_SECONDS:
                renewed = time.monotonic()
                await self._store.commit(self.leases.renew)
            if not self.leases.shared and self.leases.beside(self._store):
                await self._store.commit(self.leases.share)

    async def leave(self) -> None:
        """Give back the leases that are left, and leave the senders on this store."""
        beside = [task for task in (self._joined, self._looking) if task is not None]
        for task in beside:
            task.cancel()
        # What the store answered to them is said by whoever else asked it.
        await asyncio.gather(*beside, return_exceptions=True)
        if self._joined is not None:
            with contextlib.suppress(CurateError):  # A store that broke has said so already.
                await self._store.commit(self.leases.end)

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
