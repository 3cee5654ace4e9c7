"""Follow batch jobs to their end: submit each, ask how it stands, collect it.

Waiting is cheap and may take a day, so whatever stops the run also stops the waiting: the job goes
on at the provider, and whoever asks the same requests again meets it there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from curate.ask import Reply
from curate.errors import ModelError, PermanentFault, RecipeError, StoppedShort, TemporaryFault
from curate.models.providers.openai_batch import Missing, Refused, Remote
from curate.requests.batch.collect import LOST, BatchCollector, LineOutcome, fault_of_rest
from curate.requests.batch.jobs import BatchJob, BatchJobs
from curate.requests.batch.submit import BatchSubmitter
from curate.requests.concurrency import shut_out
from curate.store.budget import Budget
from curate.store.replies import Leases
from curate.store.store import Store

if TYPE_CHECKING:
    from curate.models.model import BatchModel
    from curate.requests.session import InFlight, RequestCounts

FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS, POLL_GROWTH = 1.0, 60.0, 1.5
# With the longest pause between them, a server may be away for half an hour.
MOST_FAILED_POLLS = 40
# After a job that the provider refused as a whole; it doubles with each further one.
REFUSED_SECONDS, LONGEST_REFUSED_SECONDS = 15.0, 600.0

_log = logging.getLogger(__name__)
Over = Callable[["Remote | None", "list[InFlight]"], None]


class RequestOwner(Protocol):
    """What is needed of the sender that everything is part of."""

    stopped: BaseException | None
    retry_failed: bool
    leases: Leases

    async def joined(self) -> None:
        """Return once the other senders on the store know of this one."""
        ...

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work`; an error that it ends with stops the sender."""
        ...

    def resolved(self, inflight: InFlight, reply: Reply, attempt: int) -> None:
        """Tell those who wait for a request its reply."""
        ...

    def gave_up(self, inflight: InFlight, error: Exception) -> None:
        """Tell those who wait for a request that it failed."""
        ...

    def stop(self, reason: BaseException) -> None:
        """Send nothing more."""
        ...


class BatchPoller:
    """The jobs of one model that this process follows; `inflights` holds the requests of each."""

    def __init__(
        self,
        model: BatchModel,
        owner: RequestOwner,
        store: Store,
        spending: Budget,
        counts: RequestCounts,
        over: Over,
    ) -> None:
        """Follow nothing yet; `over` is given each job that has ended, and what it left to ask."""
        self._server = model.batch
        self._owner, self._counts, self._over = owner, counts, over
        self._jobs = BatchJobs(store)
        self._submitting = BatchSubmitter(store, self._jobs, self._server)
        self._collecting = BatchCollector(store, spending, model, self._server, counts)
        self.inflights: dict[str, dict[str, InFlight]] = {}
        self._idling: set[asyncio.Task[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals = 0

    def join(self, name: str, inflights: dict[str, InFlight], *, fresh: bool) -> None:
        """Follow a job for the sake of `inflights`; `fresh` where it was written down just now."""
        if name in self.inflights:
            self.inflights[name].update(inflights)
            return
        self.inflights[name] = inflights
        task = self._owner.begin(self._carry(name, fresh))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def shut(self) -> None:
        """Leave the jobs where they are; what is being sent or collected goes on."""
        for task in list(self._idling):
            task.cancel()

    def abandon(self) -> None:
        """Wait for the server no longer, whatever it is doing."""
        for task in list(self._tasks):
            task.cancel()

    async def _carry(self, name: str, fresh: bool) -> None:
        """Take a job to its end: submit it, wait for it, collect it."""
        inflights = self.inflights[name]
        again: list[InFlight] = []
        remote: Remote | None = None
        try:
            if (job := self._jobs.read(name)) is not None:
                remote = await self._done(job, fresh)
                again = await self._collected(job, remote)
                self._refusals = self._refusals + 1 if remote.status == "failed" else 0
                if self._refusals and again:
                    pause = REFUSED_SECONDS * 2 ** (self._refusals - 1)
                    await self._idle(min(pause, LONGEST_REFUSED_SECONDS))
        except asyncio.CancelledError:
            if (job := self._jobs.read(name)) is not None:
                at, count = self._server.base_url, self._jobs.count(name)
                if job.remote is None:
                    _log.warning(
                        "a batch job of %d requests waits to be submitted to %s", count, at
                    )
                else:
                    _log.warning(
                        "batch job %s (%d requests) goes on at %s; the same command collects it",
                        job.remote, count, at,
                    )  # fmt: skip
            raise
        finally:
            del self.inflights[name]
            self._owner.leases.followed.discard(name)
            self._counts.batches.pop(name, None)
        # What another process has settled meanwhile is found in the store.
        self._over(remote, [*again, *inflights.values()])

    async def _done(self, job: BatchJob, fresh: bool) -> Remote:
        """Return how a job ended; one that the provider refuses to make has failed."""
        await self._idle(0)
        try:
            remote = await self._submitting.submitted(job.name, fresh=fresh)
        except PermanentFault as error:
            if away := shut_out(error):
                raise away from None
            return Remote("", "failed", refused=(Refused("", str(error)),))
        except RecipeError as error:
            refused = PermanentFault(str(error))
            async for _ in self._collecting.rest(job, lambda line: refused, {}):
                continue
            raise
        if remote is None:
            return Remote("", "completed")
        total = self._jobs.count(job.name)
        pause, failed = FIRST_POLL_SECONDS, 0
        while not remote.ended:
            self._counts.batches[job.name] = (remote.done, remote.total or total)
            await self._idle(pause)
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)
            try:
                remote, failed = await self._server.retrieve(remote.id), 0
            except ModelError as fault:
                failed += 1
                if isinstance(fault, PermanentFault):
                    return self._given_up(remote, fault)
                if failed >= MOST_FAILED_POLLS:
                    raise self._lost_sight(remote, fault) from None
        self._counts.batches[job.name] = (remote.done, remote.total or total)
        return remote

    async def _collected(self, job: BatchJob, remote: Remote) -> list[InFlight]:
        """Settle every line of a job; return the requests that another job has to take."""
        inflights, failed = self.inflights[job.name], 0
        again: list[InFlight] = []
        while True:
            try:
                async for settled_lines in self._collecting.answers(job, remote, inflights):
                    again += self._resolve(settled_lines, inflights)
                break
            except TemporaryFault as fault:
                # What had come is settled: only the rest of the file is new the next time.
                failed += 1
                if failed >= MOST_FAILED_POLLS:
                    raise self._lost_sight(remote, fault) from None
                await self._idle(min(FIRST_POLL_SECONDS * 2**failed, LONGEST_POLL_SECONDS))
            except PermanentFault as fault:
                remote = self._given_up(remote, fault)
                break
        left = self._jobs.count(job.name)
        fault_of = fault_of_rest(remote, f"{self._server.name} at {self._server.base_url}")
        async for settled_lines in self._collecting.rest(job, fault_of, inflights):
            again += self._resolve(settled_lines, inflights)
        if remote.status == "cancelled" and left:
            raise StoppedShort(
                f"the batch job {remote.id} was cancelled at {self._server.base_url} with "
                f"{left:,} requests unanswered; the same command sends those again"
            )
        return again

    def _resolve(
        self, settled_lines: Sequence[LineOutcome], inflights: dict[str, InFlight]
    ) -> list[InFlight]:
        """Tell those who wait what lines came to; return the requests that are to be sent again."""
        again: list[InFlight] = []
        for one in settled_lines:
            inflight = inflights.pop(one.line.key, None)
            if inflight is None:
                continue  # Paid for by an earlier run, which this one does not ask any more.
            if not isinstance(one.outcome, ModelError):
                self._owner.resolved(inflight, one.outcome.reply, one.outcome.attempt)
            elif one.last:
                self._owner.gave_up(inflight, one.outcome)
            else:
                again.append(inflight)
        if overshoot := self._collecting.overshoot(settled_lines):
            self._owner.stop(overshoot)
        return again

    async def _idle(self, seconds: float) -> None:
        """Wait, unless the run is stopped: nothing is lost by leaving a job alone."""
        if self._owner.stopped is not None:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._idling.add(task)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._idling.discard(task)

    def _given_up(self, remote: Remote, fault: ModelError) -> Remote:
        """Take a job that the server does not show for lost, where the user said so."""
        if not (self._owner.retry_failed and isinstance(fault, Missing)):
            raise self._lost_sight(remote, fault) from None
        return Remote(remote.id, LOST)

    def _lost_sight(self, remote: Remote, fault: ModelError) -> StoppedShort:
        advice = (
            "; if it is gone for good, --retry-failed gives it up, and its requests are sent, and "
            "paid for, once more"
        )
        return StoppedShort(
            f"the batch job {remote.id} cannot be followed: {fault}. What it answers is kept at "
            "the provider, and the same command, with the same key, looks for it again"
            + (advice if isinstance(fault, Missing) else "")
        )
