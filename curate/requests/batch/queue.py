"""Batch jobs: the requests of a wave go to the provider together, cheaper and some hours later.

One queue for each model that a recipe marks `batch: true`. Requests gather until nothing more can
come before a reply; they are reserved and written down as a job in one transaction (jobs.py), and
only then is its file uploaded and the job made. After a crash the same requests meet their job
again: one whose answer nobody noted is looked for at the provider by its name before it is made
anew, and a lock keeps other processes on the store from making it meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from curate.ask import Embed
from curate.models.providers.openai_batch import MOST_BYTES, MOST_REQUESTS, Remote
from curate.requests.batch import jobs
from curate.requests.batch.collect import too_much
from curate.requests.batch.jobs import BatchLine
from curate.requests.batch.poll import BatchPoller, RequestOwner
from curate.store import replies as keep
from curate.store.budget import Budget, BudgetRefusal
from curate.store.store import Store, StoredReply

if TYPE_CHECKING:
    from curate.models.model import BatchModel
    from curate.requests.session import InFlight, RequestCounts

# How long nothing more must come before a job is cut: parts of a run arrive one by one.
GATHER_SECONDS = 2.0


class Ready(NamedTuple):
    """A request with what its line in a job's file will take up."""

    inflight: InFlight
    path: str
    texts: int
    size: int
    content: bytes


class _Opened(NamedTuple):
    """What became of requests that were to be a job: the rest of them is in the job `name`.

    `leased` are those that another process asks for at present.
    """

    stored: dict[str, StoredReply]
    elsewhere: dict[str, str]
    leased: set[str]
    name: str | None
    refused: dict[str, BudgetRefusal]


class BatchQueue:
    """The batch jobs of one model."""

    def __init__(
        self,
        model: BatchModel,
        owner: RequestOwner,
        store: Store,
        spending: Budget,
        counts: RequestCounts,
    ) -> None:
        """Send nothing yet."""
        self._model, self._owner = model, owner
        self._server = model.batch
        self._store, self._spending, self._counts = store, spending, counts
        self._poller = BatchPoller(model, owner, store, spending, counts, self._over)
        self._waiting: list[InFlight] = []
        self._making: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._gathered = 0
        # Whether what waits must wait until a job has ended: for money, or for room.
        self._held = False
        self._most = min(model.info.max_concurrency, MOST_REQUESTS)

    # -- gathering --------------------------------------------------------------------------------

    def submit(self, inflight: InFlight) -> None:
        """Take a request; it leaves with the next job."""
        self._waiting.append(inflight)
        if len(self._waiting) >= self._most and not self._held:
            self._cut()

    def rest(self) -> None:
        """Note that nothing more will come by itself: a job is cut when that stays so."""
        if self._held or not self._waiting:
            return
        if self._timer is None or self._gathered < len(self._waiting):
            self._halt_timer()
            self._gathered = len(self._waiting)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GATHER_SECONDS, self._cut)

    def shut(self) -> None:
        """Make no more jobs, and leave those that there are to the provider."""
        self._halt_timer()
        self._poller.shut()

    def abandon(self) -> None:
        """Wait for the server no longer, whatever it is doing."""
        for task in list(self._making):
            task.cancel()
        self._poller.abandon()

    def _halt_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _cut(self) -> None:
        """Make jobs of everything that waits."""
        self._halt_timer()
        taken, self._waiting, self._gathered = self._waiting, [], 0
        if taken and self._owner.stopped is None:
            task = self._owner.begin(self._make(taken))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    # -- making jobs ------------------------------------------------------------------------------

    async def _make(self, inflights: Sequence[InFlight]) -> None:
        """Make jobs of requests, and follow the jobs that they are in."""
        # Tens of thousands of prompts become JSON here: not in the event loop.
        ready, wrong = await asyncio.to_thread(self._prepared, inflights)
        if wrong:

            def count(connection: sqlite3.Connection) -> None:
                for inflight, _ in wrong:
                    self._spending.count(connection, replayed=0, failed=1, step=inflight.step)

            await self._store.commit(count)
            self._counts.failed += len(wrong)
        for inflight, error in wrong:
            self._owner.gave_up(inflight, error)
        await self._owner.joined()
        refused: list[InFlight] = []
        refusal: BudgetRefusal | None = None
        for part in cut(ready, self._most, MOST_BYTES):
            opened = await self._store.commit(functools.partial(self._open, part))
            # What others ask for is looked for again when the next job is cut.
            self._waiting += [o.inflight for o in part if o.inflight.key in opened.leased]
            refused += self._follow(part, opened)
            refusal = refusal or next(iter(opened.refused.values()), None)
        if refusal is not None:
            self._waiting = [*refused, *self._waiting]
            self._held = bool(self._poller.inflights)
            if not self._held:
                self._owner.stop(refusal.error)

    def _prepared(
        self, inflights: Sequence[InFlight]
    ) -> tuple[list[Ready], list[tuple[InFlight, Exception]]]:
        ready: list[Ready] = []
        wrong: list[tuple[InFlight, Exception]] = []
        for inflight in inflights:
            request = inflight.request
            try:
                line = self._server.line(request, f"{inflight.key}-{inflight.attempt}")
                path = self._server.path(request)
            except Exception as error:  # this request's own failure
                wrong.append((inflight, error))
                continue
            texts = len(request.texts) if isinstance(request, Embed) else 1
            ready.append(Ready(inflight, path, texts, len(line), jobs.packed(request)))
        return ready, wrong

    def _open(self, part: Sequence[Ready], connection: sqlite3.Connection) -> _Opened:
        """Write a job down, inside a transaction, of what nobody has asked for yet."""
        ready = {one.inflight.key: one for one in part}
        inflights = {key: one.inflight for key, one in ready.items()}
        wanted = {
            key: keep.Wanted(f.request, self._model.info.identity, f.attempt)
            for key, f in inflights.items()
        }
        stored = keep.find(self._store, wanted, connection)
        found = jobs.where(connection, (key for key in inflights if key not in stored))
        elsewhere = {
            k: job for k, (attempt, job) in found.items() if attempt >= inflights[k].attempt
        }
        left = [key for key in inflights if key not in stored and key not in elsewhere]
        leased = self._owner.leases.of_others(connection, left)
        absent = [ready[key] for key in left if key not in leased]
        attempts = [(one.inflight.bound, one.inflight.tries > 0) for one in absent]
        granted, refused = list[BatchLine](), dict[str, BudgetRefusal]()
        steps = [one.inflight.step for one in absent]
        refusals = self._spending.reserve(connection, attempts, steps=steps)
        for one, refusal in zip(absent, refusals, strict=True):
            inflight = one.inflight
            if refusal is not None:
                refused[inflight.key] = refusal
                continue
            number = len(granted) + 1
            granted.append(
                BatchLine(
                    number,
                    inflight.key,
                    inflight.attempt,
                    inflight.bound,
                    one.content,
                    inflight.step,
                )
            )
        name, run = None, self._spending.run_id
        if granted:
            name = jobs.add(connection, self._model.info.identity, run, absent[0].path, granted)
        followed = {*elsewhere.values(), *([] if name is None else [name])}
        self._owner.leases.follow(connection, followed)
        return _Opened(stored, elsewhere, leased, name, refused)

    def _follow(self, part: Sequence[Ready], opened: _Opened) -> list[InFlight]:
        """Follow the jobs that requests are in now; return those that a ceiling bars."""
        refused: list[InFlight] = []
        joined: dict[str, dict[str, InFlight]] = {}
        for inflight in (one.inflight for one in part):
            key = inflight.key
            if stored := opened.stored.get(key):
                self._counts.replay(inflight.step)
                self._owner.resolved(inflight, stored.reply, stored.attempt)
            elif key in opened.refused:
                refused.append(inflight)
            elif key not in opened.leased:
                if key not in opened.elsewhere:
                    self._counts.sent += 1
                    self._counts.retried += inflight.tries > 0
                inflight.tries += 1
                name = opened.elsewhere.get(key) or opened.name or ""
                joined.setdefault(name, {})[key] = inflight
        for name, inflights in joined.items():
            self._poller.join(name, inflights, fresh=name == opened.name)
        return refused

    # -- the end of jobs --------------------------------------------------------------------------

    def _over(self, remote: Remote | None, again: list[InFlight]) -> None:
        """Take back what a job left to ask; one that was too much makes the next ones smaller."""
        failed = remote is not None and remote.status == "failed"
        if remote is not None and too_much(remote):
            self._most = max(1, min(self._most, len(again)) // 2)
        # There is room again when one of the others has ended.
        self._held = failed and bool(self._poller.inflights)
        for inflight in again:
            self.submit(inflight)


def cut(ready: Sequence[Ready], most: int, most_bytes: int) -> Iterator[list[Ready]]:
    """Yield the parts of `ready` that may be one job: one endpoint, within the API's limits."""
    for path in dict.fromkeys(one.path for one in ready):
        part: list[Ready] = []
        texts = size = 0
        for one in (one for one in ready if one.path == path):
            full = texts + one.texts > most or size + one.size > most_bytes
            if part and full:
                yield part
                part, texts, size = [], 0, 0
            part.append(one)
            texts, size = texts + one.texts, size + one.size
        if part:
            yield part
