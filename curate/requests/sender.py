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
        landed: Callable[[InFlight], None],
        concurrency: int | None = None,
    ) -> None:
        """Make a gate for each model; `landed` is called in the event loop for every flight."""
        self._store, self._spending, self._counts = store, spending, counts
        self._tell_waiters, self._random = landed, random.Random()
        self._gates = {
            id(model): AdaptiveLimiter(
                min(model.max_concurrency, concurrency or model.max_concurrency),
                name,
                rate=Rate.of(model),
            )
            for name, model in models.items()
        }
        self._lanes = {
            id(model): BatchQueue(model, self, store, spending, counts)
            for model in models.values()
            if getattr(model, "batch", None) is not None
        }
        self._opening = GroupCommit(store.commit, self._open)
        self._keeping = GroupCommit(store.commit, self._keep)
        self.flights: dict[str, InFlight] = {}
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
        return sum(max(1, int(gate.allowed)) for gate in self._gates.values())

    @property
    def busy(self) -> int:
        """How many attempts are under way."""
        return sum(gate.busy for gate in self._gates.values())

    def submit(self, flight: InFlight) -> None:
        """Queue a flight; `launch` sends it when there is a place, or it leaves with a batch."""
        self.flights[flight.key], model = flight, id(flight.model)
        queue = self._gates[model].queue.append
        (self._lanes[model].submit if model in self._lanes else queue)(flight)

    def rest(self) -> None:
        """Note that nothing more will be asked before something lands: batches may go."""
        if not (self._holding or self._timers or any(g.waiting for g in self._gates.values())):
            for lane in self._lanes.values():
                lane.rest()

    def launch(self) -> None:
        """Start attempts while there are places."""
        if self._store.full and self.stopped is None:
            self.stop(self._store.disk_full())
        for gate in self._gates.values():
            while gate.queue and gate.open and not (self._tight or self.stopped):
                gate.begun += 1
                self.begin(self._attempt(gate.queue.popleft(), gate))
            gate.admit()
            if gate.waiting and (pause := gate.wait()) > 0 and not self.stopped:
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
        for gate in self._gates.values():
            gate.shut()
        for lane in self._lanes.values():
            lane.shut()
        self.wake.set()

    async def drain(self) -> None:
        """Wait for the attempts under way, and commit what they bring."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Stop waiting for servers; replies that have arrived are still committed."""
        for task in list(self._asking):
            task.cancel()
        for lane in self._lanes.values():
            lane.abandon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # The store failed, or this module is wrong: either way nothing more may be sent.
            self.stop(error)
        self.wake.set()

    # -- one attempt ------------------------------------------------------------------------------

    async def _attempt(self, flight: InFlight, gate: AdaptiveLimiter) -> None:
        self._holding += 1
        ended, granted = self._attempts_ended, None
        try:
            granted = await self._opening(flight)
            if isinstance(granted, StoredReply):
                self._counts.replayed += 1
                self.landed(flight, granted.reply, granted.attempt)
            elif granted is None and self.stopped is None and await self._enter(flight, gate):
                await self._send(flight, gate)
            elif granted is None:
                await self._store.commit(lambda connection: self._take_back(connection, flight))
        finally:
            self._holding -= 1
            gate.begun -= 1
        if isinstance(granted, BudgetRefusal):
            self._refused(flight, gate, granted, ended)
        else:
            self._tight = False
            self._attempts_ended += 1

    @staticmethod
    async def _enter(flight: InFlight, gate: AdaptiveLimiter) -> bool:
        return await gate.enter(expected_tokens(flight.request) if gate.rate else 0)

    def _open(
        self, connection: sqlite3.Connection, flights: list[InFlight]
    ) -> list[StoredReply | BudgetRefusal | None]:
        """Reserve, inside a transaction, unless another process has stored the reply meanwhile."""
        wanted = {f.key: keep.Wanted(f.request, _owner(f), f.attempt) for f in flights}
        stored = keep.find(self._store, wanted, connection)
        absent = [flight for flight in flights if flight.key not in stored]
        attempts = [(flight.bound, flight.tries > 0) for flight in absent]
        refusals = iter(self._spending.reserve(connection, attempts))
        return [stored[f.key] if f.key in stored else next(refusals) for f in flights]

    def _take_back(self, connection: sqlite3.Connection, flight: InFlight) -> None:
        self._spending.cancel(connection, flight.bound, retry=flight.tries > 0)

    def _refused(
        self, flight: InFlight, gate: AdaptiveLimiter, refusal: BudgetRefusal, ended: int
    ) -> None:
        """Stop at a ceiling, or wait while attempts under way may still settle for less.

        `ended` is how many had settled when the flight asked: more now, and there may be room.
        """
        gate.queue.appendleft(flight)
        if refusal.final or not (self._holding or ended < self._attempts_ended):
            self.stop(refusal.error)
        else:
            self._tight = self._holding > 0

    async def _send(self, flight: InFlight, gate: AdaptiveLimiter) -> None:
        self._counts.sent += 1
        self._counts.retried += flight.tries > 0
        flight.tries += 1
        began = gate.began()
        answer = await self._ask(flight)
        if isinstance(answer, Reply):
            gate.answered()
            self._look_at_the_bill(flight, answer, gate)
        elif isinstance(answer, UsageError | StoppedShort):
            self.stop(answer)  # The model itself cannot be used: no row is to blame.
        elif away := gate.failed(answer, began, flight.key):
            self.stop(away)
        gate.leave()
        if isinstance(answer, Reply):
            await self._arrived(flight, answer)
        else:
            await self._missed(flight, answer)

    def _look_at_the_bill(self, flight: InFlight, reply: Reply, gate: AdaptiveLimiter) -> None:
        """Stop at once when a server bills too much; correct what the rate assumed."""
        bill = bill_of(flight.bound, reply, flight.model.price)
        if overshoot := self._spending.overshoot(flight.bound, bill):
            self.stop(overshoot)
        if gate.rate is not None:
            used = reply.input_tokens + reply.output_tokens
            gate.rate.correct(expected_tokens(flight.request), used)

    async def _ask(self, flight: InFlight) -> Reply | Exception:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await flight.model.answer(flight.request, key=flight.key, attempt=flight.attempt)
        except Exception as error:
            return error
        finally:
            self._asking.discard(task)

    async def _arrived(self, flight: InFlight, reply: Reply) -> None:
        stored, bill = await self._keeping((flight, reply))
        self._counts.input_tokens += reply.input_tokens
        self._counts.output_tokens += reply.output_tokens
        self._counts.cost_usd += bill / PICO
        self.landed(flight, stored.reply, stored.attempt)

    def _keep(
        self, connection: sqlite3.Connection, answered: list[tuple[InFlight, Reply]]
    ) -> list[tuple[StoredReply, int]]:
        """Store replies and settle their bills, inside one transaction."""
        bills = self._spending.settle_replies(
            connection, [(flight.bound, reply, flight.model.price) for flight, reply in answered]
        )
        paid = [Paid(f.key, f.attempt, reply, f.request, _owner(f)) for f, reply in answered]
        return list(zip(keep.save(self._store, connection, paid), bills, strict=True))

    async def _missed(self, flight: InFlight, error: Exception) -> None:
        """Settle an attempt that brought no reply, then try again or give the request up."""
        bill = flight.bound if _may_be_billed(error) else 0
        last = self._is_last(flight, error)

        def settle(connection: sqlite3.Connection) -> None:
            self._spending.settle(connection, flight.bound, bill)
            if last:
                self._spending.count(connection, replayed=0, failed=1)

        await self._store.commit(settle)
        self._counts.cost_usd += bill / PICO
        cause = error.cause if isinstance(error, TemporaryFault) else "permanent"
        self._counts.causes[cause] = self._counts.causes.get(cause, 0) + 1
        if last:
            self._counts.failed += 1
            self.gave_up(flight, error)
        elif self.stopped is None:
            self._again_later(flight, error)

    @staticmethod
    def _is_last(flight: InFlight, error: Exception) -> bool:
        if not isinstance(error, TemporaryFault):
            return True
        return flight.tries >= (LIMITED_TRIES if error.cause == "rate_limit" else MAX_TRIES)

    def gave_up(self, flight: InFlight, error: Exception) -> None:
        """Tell those who wait for a flight that it failed."""
        if isinstance(error, TemporaryFault):
            error = TemporaryFault(
                f"no reply after {flight.tries} attempts: {error}", cause=error.cause
            )
        flight.error = error
        self._tell(flight)

    def _again_later(self, flight: InFlight, error: Exception) -> None:
        doublings = min(flight.tries - 1, MOST_DOUBLINGS)
        pause = flight.model.retry_delay * 2**doublings * self._random.uniform(0.5, 1.0)
        if getattr(error, "cause", None) == "rate_limit":
            pause = min(pause, LONGEST_LIMITED_PAUSE_SECONDS)
        asked = getattr(error, "retry_after", None) or 0.0
        pause = max(min(pause, MAX_PAUSE_SECONDS), min(asked, LONGEST_ASKED_SECONDS))
        handle: asyncio.TimerHandle

        def requeue() -> None:
            self._timers.discard(handle)
            self._gates[id(flight.model)].queue.appendleft(flight)
            self.wake.set()

        handle = asyncio.get_running_loop().call_later(pause, requeue)
        self._timers.add(handle)

    def landed(self, flight: InFlight, reply: Reply, attempt: int) -> None:
        """Tell those who wait for a flight its reply."""
        flight.reply, flight.attempt = reply, attempt
        self._tell(flight)

    def _tell(self, flight: InFlight) -> None:
        del self.flights[flight.key]
        self._tell_waiters(flight)


def _owner(flight: InFlight) -> str:
    return identity_for(flight.model, flight.request)


def _may_be_billed(error: Exception) -> bool:
    if isinstance(error, TemporaryFault):
        return error.cause not in UNBILLED
    return not isinstance(error, PermanentFault)
